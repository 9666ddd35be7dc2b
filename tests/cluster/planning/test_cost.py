"""Rates: recovered from trials of known cost, kept by device and study, and true of a study that was really run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tesseral.cluster.campaign.display import Display, Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.cost import PRIOR, SHIPPED, Rate, read_rate, record_rate
from tesseral.cluster.planning.overheads import overheads
from tesseral.cluster.planning.plan import prepare
from tesseral.study.design.study_file import Resources
from tesseral.study.records.document import seal
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study

EXAMPLES = Path(__file__).parents[3] / "study" / "examples"
CPU, GPU = Resources(), Resources(gpus=0.5)


def record(
    storage: Path,
    study: str,
    trials: list[tuple[float, int, float]],
    device: str = "cpu",
    target: str = "density",
    interaction: str = "gated",
    **outcome,
) -> None:
    """Records of complete trials: (flops, steps, seconds)."""
    store = Store(storage).child(study)
    for number, (flops, steps, seconds) in enumerate(trials):
        trial = f"{device[:3]}{number:061d}"
        plan = {"id": trial, "arm": "a", "factors": {}, "stage": "confirm", "flops": flops, "target": target}
        network = {"interaction": interaction, "fusion": {"diagram": "none"}}
        plan["trial"] = {"configuration": {"network": network}}
        ended = {
            "state": "complete",
            "files": {},
            "checkpoint": None,
            "ended": "2025-03-01T12:00:00+00:00",
            "device": device,
        }
        store.create(f"trials/{trial}/trial.json", seal(plan))
        ended |= {"seconds": seconds, "steps": steps} | outcome
        store.create(f"trials/{trial}/outcome.json", seal(ended))


def cost(rate: Rate, sizes: list[tuple[float, int]], noise: float = 0.0) -> list[tuple[float, int, float]]:
    random = np.random.default_rng(0)
    return [(f, n, rate.trial(f, n) * float(np.exp(noise * random.normal()))) for f, n in sizes]


SIZES = [(flops, steps) for flops in (1e6, 1e7, 1e8, 1e9) for steps in (20, 200, 2000)]


def test_a_step_and_a_trial():
    rate = Rate("cpu", setup=2.0, overhead=0.5, per_flop=0.25)
    assert rate.step(4.0) == 1.5
    assert rate.trial(4.0, 10) == 17.0
    assert rate.step(4.0, 2.2) == 0.5 * 2.2 + 1.0, "each pass takes its overhead"
    assert rate.trial(4.0, 10, 2.2) == 23.0


def test_forces_and_energies_give_one_rate(tmp_path):
    """A step on forces has more overheads, so that a rate fitted to one tells the other."""
    true = Rate("cpu", setup=0.2, overhead=2e-3, per_flop=1e-10)
    record(tmp_path, "energies", cost(true, SIZES))
    (alone,) = record_rate(str(tmp_path), "energies")
    other = tmp_path / "forces"
    beside = overheads("mace", "none", differentiated=True)
    times = [(f, n, true.trial(f, n, beside)) for f, n in SIZES]
    record(other, "forces", times, target="forces", interaction="mace")
    (rate,) = record_rate(str(other), "forces")
    for flops, steps in SIZES:
        assert rate.trial(flops, steps) == pytest.approx(alone.trial(flops, steps), rel=0.15)
        assert rate.trial(flops, steps, beside) == pytest.approx(true.trial(flops, steps, beside), rel=0.15)


def test_rates_of_an_earlier_model_are_left_out(tmp_path):
    record(tmp_path, "one", cost(SHIPPED, SIZES))
    record_rate(str(tmp_path), "one")
    earlier = json.loads((tmp_path / "rates" / "cpu.json").read_text())
    assert read_rate(str(tmp_path), CPU).trials == len(SIZES)
    del earlier["model"], earlier["sha256"]
    Store(tmp_path).replace("rates/cpu.json", seal(earlier))
    assert read_rate(str(tmp_path), CPU) == SHIPPED
    (rate,) = record_rate(str(tmp_path), "one")
    assert rate.trials == len(SIZES)


@pytest.mark.parametrize("faster", [1.0, 0.05, 30.0])
def test_a_machine_that_is_faster_by_one_factor_is_recovered(tmp_path, faster):
    true = Rate("cpu", *(faster * z for z in (SHIPPED.setup, SHIPPED.overhead, SHIPPED.per_flop)))
    record(tmp_path, "one", cost(true, SIZES))
    (rate,) = record_rate(str(tmp_path), "one")
    assert rate == replace(true, trials=12, setup=pytest.approx(true.setup), overhead=pytest.approx(true.overhead),
                           per_flop=pytest.approx(true.per_flop))  # fmt: skip
    assert read_rate(str(tmp_path), CPU) == rate


def test_other_proportions_are_recovered_through_noise(tmp_path):
    true = Rate("cpu", setup=0.2, overhead=2e-3, per_flop=1e-10)
    record(tmp_path, "one", cost(true, 20 * SIZES, noise=0.1))
    (rate,) = record_rate(str(tmp_path), "one")
    for flops, steps in SIZES:
        assert rate.trial(flops, steps) == pytest.approx(true.trial(flops, steps), rel=0.1)


def test_coefficients_are_never_negative(tmp_path):
    record(tmp_path, "one", [(flops, 100, 1.0 + 0.1 / flops * 1e6) for flops in (1e6, 1e7, 1e8)] * 10)
    (rate,) = record_rate(str(tmp_path), "one")
    assert rate.setup >= 0
    assert rate.overhead >= 0
    assert rate.per_flop >= 0


def test_one_trial_scales_the_shipped_rate(tmp_path):
    record(tmp_path, "one", [(1e8, 100, 7 * SHIPPED.trial(1e8, 100))])
    (rate,) = record_rate(str(tmp_path), "one")
    for flops, steps in SIZES:
        assert rate.trial(flops, steps) == pytest.approx(7 * SHIPPED.trial(flops, steps))
    assert PRIOR > 0, "without it, one trial could not be fitted at all"


def test_studies_add_up_and_none_counts_twice(tmp_path):
    true = Rate("cpu", setup=1.0, overhead=1e-3, per_flop=3e-10)
    rows = cost(true, SIZES)
    record(tmp_path, "whole", rows)
    record(tmp_path, "first", rows[:5])
    record(tmp_path, "second", rows[5:])
    (whole,) = record_rate(str(tmp_path), "whole")
    Store(tmp_path).delete(["rates/cpu.json"])
    for study in ("first", "second", "first", "second"):
        (rate,) = record_rate(str(tmp_path), study)
    assert rate.trials == whole.trials == 12
    assert (rate.setup, rate.overhead, rate.per_flop) == pytest.approx((whole.setup, whole.overhead, whole.per_flop))


def test_trials_that_say_nothing_of_this_device_do_not_count(tmp_path):
    record(tmp_path, "copied", [(1e8, 100, 5.0)], reused="other")
    record(tmp_path, "failed", [(1e8, 100, 5.0)], state="failed")
    assert record_rate(str(tmp_path), "copied") == record_rate(str(tmp_path), "failed") == []
    assert not (tmp_path / "rates").exists()


def test_each_device_has_its_own_rate(tmp_path):
    assert read_rate(str(tmp_path), CPU) == SHIPPED
    assert read_rate(str(tmp_path), GPU) is None, "none is shipped"
    record(tmp_path, "one", cost(SHIPPED, SIZES[:3]))
    record(tmp_path, "one", cost(Rate("gpu", 1.0, 1e-3, 1e-13), SIZES), device="NVIDIA H100 80GB HBM3")
    record(tmp_path, "one", cost(Rate("old", 1.0, 1e-2, 1e-12), SIZES[:2]), device="Tesla V100")
    assert {rate.device for rate in record_rate(str(tmp_path), "one")} == {"cpu", "NVIDIA H100 80GB HBM3", "Tesla V100"}
    assert sorted(path.name for path in (tmp_path / "rates").iterdir()) == [
        "cpu.json", "nvidia-h100-80gb-hbm3.json", "tesla-v100.json"
    ]  # fmt: skip
    chosen = [
        (CPU, "cpu"),
        (GPU, "NVIDIA H100 80GB HBM3"),
        (Resources(device="cuda"), "NVIDIA H100 80GB HBM3"),
        (Resources(gpus=1, device="cpu"), "cpu"),
    ]
    for resources, device in chosen:
        rate = read_rate(str(tmp_path), resources)
        assert rate is not None
        assert rate.device == device


def test_the_source_is_said():
    assert "until trials are recorded in this storage" in SHIPPED.source
    assert replace(SHIPPED, trials=24).source == "24 trials recorded in this storage, on cpu"


def test_a_torn_rate_is_left_out(tmp_path):
    Store(tmp_path).replace("rates/cpu.json", b'{"device": "cp')
    with pytest.warns(UserWarning, match="torn"):
        assert read_rate(str(tmp_path), CPU) == SHIPPED


def test_the_estimate_of_a_study_that_was_run_is_within_a_factor_of_two(storage):
    study = Study.load(EXAMPLES / "quickstart_tiny.toml")
    plan = prepare(study, storage)
    display: Display = Silent()
    run_study(plan, InlineExecutor(), display)
    ledger = Ledger(Store(storage).child(study.name))
    record_rate(str(storage), study.name, ledger.entries())
    rate = read_rate(str(storage), study.file.resources)
    assert rate is not None
    assert rate.trials == 6
    for arm in plan.arms:
        outcomes = [entry.outcome for entry in ledger.entries() if entry.plan["arm"] == arm.label]
        measured = np.median([outcome["seconds"] for outcome in outcomes if outcome])
        assert 0.5 < rate.trial(arm.size.flops, arm.steps) / measured < 2
    assert "rates" not in [name for name in Store(storage).folders() if Store(storage).read(f"{name}/study.toml")]
