"""The optimization: learning rates in closed form, averaged and kept weights, early ends; and each resumes exactly."""

import math
from dataclasses import replace

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tesseral.models.data.data_set import DataSet
from tesseral.models.data.split import split_structures
from tesseral.models.targets.metrics import evaluation_batches, measure
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.optimization import Optimization, step_size
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.training import Training
from tesseral.study.errors import StudyFileError
from tests.support.synthetic_density import EMPTY, Memory, small_configuration, synthetic_reference, synthetic_trial

REFERENCE = synthetic_reference()
STEPS = 3
"""In an epoch: ten structures in batches of four."""


def run(trial, checkpoint=None):
    memory = Memory()
    return train(trial, REFERENCE, memory, device="cpu", checkpoint=checkpoint), memory


def errors(memory: Memory) -> list[float]:
    """Validation error before training and after each epoch."""
    rows = [r for r in memory.curve_rows if r["split"] == "validation" and r["metric"] == "l2_error" and r["l"] is None]
    return [row["value"] for row in rows]


def test_step_sizes():
    cosine, constant = Training(learning_rate=0.2), Training(learning_rate=0.2, schedule="constant")
    assert [step_size(cosine, step, 4) for step in (0, 1, 2, 4)] == pytest.approx(
        [0.2, 0.2 * (1 + 0.5**0.5) / 2, 0.1, 0.0]
    )
    assert {step_size(constant, step, 4) for step in range(4)} == {0.2}
    assert [step_size(cosine, step, 6, warm_up=2) for step in (0, 1, 2, 3, 4)] == pytest.approx(
        [0.1, 0.2, 0.2, 0.2 * (1 + 0.5**0.5) / 2, 0.1]
    )
    assert step_size(replace(constant, schedule="plateau"), 3, 6, rate=0.05) == 0.05


def small_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2, dtype=torch.float64)


def push(model: torch.nn.Module, size: float) -> None:
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, size)


def test_a_long_gradient_is_scaled_to_the_largest_norm():
    """Adam does not see a gradient's length; with its second moment kept for ever it does, by the first step."""
    for clip, norm in ((None, math.sqrt(8) * 5), (0.5, 0.5), (100.0, math.sqrt(8) * 5)):
        model = small_model()
        optimization = Optimization(model, Training(clip=clip), STEPS)
        push(model, 5.0)
        optimization.step(0)
        squares = [state["exp_avg_sq"].sum() / (1 - 0.999) for state in optimization.optimizer.state.values()]
        assert math.sqrt(sum(squares)) == pytest.approx(norm, rel=1e-5)


def test_decoupled_weight_decay_in_closed_form():
    """Loshchilov and Hutter, algorithm 2: θ ← θ − η(sign(g) + λθ) in the first step, but for ε."""
    model = small_model()
    before = model.weight.detach().clone()
    settings = Training(optimizer="adamw", weight_decay=0.3, learning_rate=0.1, schedule="constant")
    optimization = Optimization(model, settings, STEPS)
    push(model, 5.0)
    optimization.step(0)
    torch.testing.assert_close(model.weight.detach(), before * (1 - 0.1 * 0.3) - 0.1, rtol=0, atol=1e-8)


def test_betas_reach_the_optimizer():
    optimization = Optimization(small_model(), Training(betas=(0.5, 0.7)), STEPS)
    assert optimization.optimizer.param_groups[0]["betas"] == (0.5, 0.7)


def test_averaged_weights_in_closed_form():
    model = small_model()
    optimization = Optimization(model, Training(ema=0.9, schedule="constant"), STEPS)
    expected = None
    for number in range(5):
        push(model, float(number) - 1.5)
        optimization.step(number)
        weight = model.weight.detach()
        expected = weight.clone() if expected is None else 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(optimization.evaluated.weight.detach(), expected, rtol=0, atol=1e-12)
    optimization.finish()
    assert torch.equal(model.weight.detach(), optimization.evaluated.weight.detach())


def test_a_plateau_lowers_the_rate_after_its_patience():
    settings = Training(schedule="plateau", plateau_patience=1, plateau_factor=0.1, learning_rate=1.0)
    model = small_model()
    optimization, rates = Optimization(model, settings, STEPS), []
    for epoch, error in enumerate((5.0, 4.0, 4.0, 4.5, 3.0, 3.1, 3.2, 3.3), start=1):
        push(model, 1.0)
        optimization.step(epoch)
        rates.append(optimization.optimizer.param_groups[0]["lr"])
        optimization.end_epoch(epoch, error)
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_training_ends_without_a_lower_error_for_the_patience():
    optimization = Optimization(small_model(), Training(patience=2), STEPS)
    stopped = []
    for epoch, error in enumerate((3.0, 2.0, 2.0, 1.9, 1.9, 2.5), start=1):
        optimization.end_epoch(epoch, error)
        stopped.append(optimization.stopped)
    assert stopped == [False] * 5 + [True]


def test_settings_at_their_defaults_change_nothing():
    """What was trained before these settings existed is trained the same: by Adam with nothing else."""
    plain, named = small_model(), small_model()
    optimization = Optimization(named, Training(learning_rate=0.01), STEPS)
    adam = torch.optim.Adam(plain.parameters(), lr=0.01, fused=True)
    for number in range(4):
        for model in (plain, named):
            push(model, 1.0 + number)
        for group in adam.param_groups:
            group["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * number / (60 * STEPS)))
        adam.step()
        optimization.step(number)
    assert torch.equal(plain.weight, named.weight)


EACH = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "betas": (0.8, 0.99)},
    "clip": {"clip": 1e-4},
    "ema": {"ema": 0.7},
    "plateau": {"schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.3, "learning_rate": 0.3},
    "warm-up": {"warmup_epochs": 2},
    "best": {"keep": "best", "learning_rate": 0.1, "schedule": "constant"},
    "best of averages": {"keep": "best", "ema": 0.5, "learning_rate": 0.3, "schedule": "constant"},
    "patience": {"patience": 1, "learning_rate": 0.1, "schedule": "constant"},
}


@pytest.mark.parametrize("name", EACH)
def test_each_resumes_to_the_last_bit(name):
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=5, **EACH[name]))
    whole, memory = run(trial)
    plain, _ = run(synthetic_trial(REFERENCE, small_configuration(epochs=5)))
    assert whole.metrics != plain.metrics
    for step in list(memory.states)[1:3]:
        again, later = run(trial, memory.states[step])
        assert again.metrics == whole.metrics
        assert (again.steps, max(later.states, default=step)) == (whole.steps, max(memory.states))
        last = [restore_model(each.states[whole.steps], trial, EMPTY) for each in (memory, later) if each.states]
        states = [model.state_dict() for model in last]
        assert all(torch.equal(states[0][key], other[key]) for other in states for key in other)


@pytest.mark.parametrize("name", ["best", "best of averages", "ema"])
def test_the_kept_weights_are_those_that_were_judged(name):
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=5, **EACH[name]))
    result, memory = run(trial)
    data = DataSet(REFERENCE, trial.configuration.network, torch.float32, torch.device("cpu"))
    model = restore_model(memory.states[result.steps], trial, EMPTY)
    split = split_structures(trial.configuration.data, range(len(data)), trial.seeds.split)
    seen = errors(memory)[1:]
    expected = min(seen) if trial.configuration.training.keep == "best" else seen[-1]
    kept = {value.key: value.value for value in measure(model, evaluation_batches(data, split.validation))}
    assert kept["l2_error"] == pytest.approx(expected, rel=1e-6)
    assert result.metrics["validation.l2_error"] == expected, "a search would judge other weights than are kept"
    if name == "best":
        assert expected < seen[-1], "the last epoch is not the best, or this test sees nothing"
    tested = {value.key: value.value for value in measure(model, evaluation_batches(data, split.test))}
    assert result.metrics["test.l2_error"] == pytest.approx(tested["l2_error"], rel=1e-6)


def test_an_early_end_is_a_whole_training():
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=40, **EACH["patience"]))
    result, memory = run(trial)
    epochs = result.steps // STEPS
    seen = errors(memory)[1:]
    assert epochs == len(seen) < 40
    assert min(seen) == seen[-2], "one epoch without a lower error"
    assert "test.l2_error" in result.metrics
    assert {row["epoch"] for row in memory.trace_rows} >= {0, epochs}
    again, nothing = run(trial, memory.states[result.steps])
    assert again.metrics == result.metrics
    assert not nothing.curve_rows


def test_averages_are_those_of_torch():
    model = small_model()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    optimization = Optimization(model, Training(ema=0.8), STEPS)
    for number in range(3):
        push(model, 1.0)
        optimization.step(number)
        theirs.update_parameters(model)
    assert torch.equal(theirs.module.weight, optimization.evaluated.weight)


DATA = {"reference": "x", "train": 10, "validation": 2, "test": 2}
NETWORK = {"hidden": {"lmax": 1, "mul": [4]}}


def resolved(**training) -> Training:
    return Configuration.from_dict({"data": DATA, "network": NETWORK, "training": training}).resolved().training


def test_steps_become_whole_epochs():
    assert resolved(steps=7, batch_size=4) == Training(epochs=3, batch_size=4)
    assert resolved(steps=6, batch_size=4) == Training(epochs=2, batch_size=4)


def test_what_has_no_effect_gives_trials_no_other_ids():
    assert resolved(plateau_patience=3, plateau_factor=0.9) == Training()
    assert resolved(schedule="plateau", plateau_patience=3).plateau_patience == 3


def test_settings_that_cannot_be_met_are_refused():
    for changed, where in (
        ({"keep": "best"}, "training.keep"),
        ({"patience": 3}, "training.patience"),
        ({"schedule": "plateau"}, "training.schedule"),
    ):
        with pytest.raises(StudyFileError) as caught:
            Training(**changed).resolve(10, 0)
        assert str(caught.value) == f"{where}: expected data.validation of at least 1 with {where}, got 0"
    with pytest.raises(StudyFileError) as caught:
        Training(weight_decay=0.1).resolve(10, 2)
    assert str(caught.value) == ('training.weight_decay: expected 0 but with training.optimizer = "adamw", got 0.1')
    with pytest.raises(StudyFileError) as caught:
        Training(steps=20, batch_size=4, warmup_epochs=8).resolve(10, 2)
    assert str(caught.value) == "training.warmup_epochs: expected at most the 7 epochs of the training, got 8"
    assert Training(steps=20, batch_size=4, warmup_epochs=7).resolve(10, 2).epochs == 7
