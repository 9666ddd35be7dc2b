"""Training: what it records, that it goes on from any checkpoint to the same last bit, learns, and fails loudly."""

import pickle
import random
from dataclasses import replace

import pytest
import torch

from tesseral.models.compiled.library import open_library
from tesseral.models.data.data_set import DataSet
from tesseral.models.data.split import permutation, split_structures
from tesseral.models.networks.products.fused.operator import open_operator
from tesseral.models.targets.metrics import evaluation_batches, measure, measure_densities
from tesseral.models.training.checkpoint import read_checkpoint, restore_model
from tesseral.models.training.device import find_device
from tesseral.models.training.recorder import DivergedError, Result
from tesseral.models.training.training import train
from tesseral.study.configuration.trial import Traces, Trial
from tesseral.study.errors import DataError, RecordError, StudyFileError, TesseralError
from tesseral.study.records.schemas import CURVES, TRACES, to_table
from tests.support.synthetic_density import (
    EMPTY,
    Memory,
    density_parameters,
    small_configuration,
    synthetic_reference,
    synthetic_trial,
)

REFERENCE = synthetic_reference()
TRACES_OFTEN = Traces(dense_epochs=1, growth=2, probe=3)


def run(trial: Trial, checkpoint: bytes | None = None) -> tuple[Result, Memory]:
    memory = Memory()
    return train(trial, REFERENCE, memory, device="cpu", traces=TRACES_OFTEN, checkpoint=checkpoint), memory


def same_numbers(first: bytes, second: bytes, trial: Trial) -> bool:
    """Whether two checkpoints hold the same model, to the last bit."""
    one, other = (restore_model(content, trial, EMPTY).state_dict() for content in (first, second))
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def unbroken() -> tuple[Trial, Result, Memory]:
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=4))
    return trial, *run(trial)


def test_rows_and_result(unbroken):
    trial, result, memory = unbroken
    assert result.steps == 4 * 3 == trial.configuration.max_steps  # ten structures in batches of four
    assert result.parameters == density_parameters(trial.configuration)
    assert result.device == "cpu"
    assert result.seconds > 0
    assert result.peak_memory > 50e6
    curves, traces = to_table(memory.curve_rows, CURVES), to_table(memory.trace_rows, TRACES)
    assert len(curves) == len(memory.curve_rows)
    steps = {name: set() for name in ("train", "validation", "test")}
    for row in curves.to_pylist():
        steps[row["split"]].add((row["step"], row["epoch"]))
    measured = [(0, 0), (3, 1), (6, 2), (9, 3), (12, 4)]
    assert steps == {"train": set(measured[1:]), "validation": set(measured), "test": {(12, 4)}}
    assert {row["epoch"] for row in traces.to_pylist()} == {0, 1, 2, 4}
    assert sorted(memory.states) == [3, 6, 9, 12]
    last = {
        f"{row['split']}.{row['metric']}" + (f".l{row['l']}" if row["l"] is not None else ""): row["value"]
        for row in memory.curve_rows
        if row["step"] == 12
    }
    assert result.metrics == last == memory.values[12]
    assert {"test.l2_error", "test.epsilon", "test.block_error.l4", "validation.mse", "train.loss"} <= set(last)


def test_every_boundary_tells_the_last_values(unbroken):
    """Of its own epoch, and not changed by later ones."""
    _, _, memory = unbroken
    for step, values in memory.values.items():
        expected = {
            f"{row['split']}.{row['metric']}" + (f".l{row['l']}" if row["l"] is not None else ""): row["value"]
            for row in memory.curve_rows
            if row["step"] == step
        }
        assert values == expected
    assert memory.values[3]["validation.l2_error"] != memory.values[6]["validation.l2_error"]


def test_a_search_does_not_see_the_test_split(unbroken):
    """Nothing of it is measured, and every other number is the same."""
    trial, result, memory = unbroken
    searching = Memory()
    trained = train(trial, REFERENCE, searching, device="cpu", traces=TRACES_OFTEN, test=False)
    assert searching.curve_rows == [row for row in memory.curve_rows if row["split"] != "test"]
    assert searching.trace_rows == [r for r in memory.trace_rows if not r["statistic"].startswith("ablation")]
    assert trained.metrics == {k: v for k, v in result.metrics.items() if not k.startswith("test.")}
    assert searching.values[12] == trained.metrics
    assert same_numbers(searching.states[12], memory.states[12], trial)


def test_the_last_checkpoint_holds_weights_alone(unbroken):
    """Adam keeps two numbers for each weight."""
    trial, _, memory = unbroken
    states = {step: read_checkpoint(content, trial) for step, content in memory.states.items()}
    assert [state.optimizer is None for state in states.values()] == [False, False, False, True]
    assert len(memory.states[12]) < 0.5 * len(memory.states[9])


@pytest.mark.parametrize("options", [{}, {"test": False}, {"parts": 2}])
def test_a_worker_that_dies_before_the_outcome_leaves_nothing_to_do(unbroken, options):
    trial, result, memory = unbroken
    again = train(trial, REFERENCE, rest := Memory(), device="cpu", checkpoint=memory.states[12], **options)
    assert again.metrics == result.metrics
    assert (again.steps, again.parameters, again.device) == (result.steps, result.parameters, result.device)
    assert again.seconds > read_checkpoint(memory.states[12], trial).seconds
    assert (rest.curve_rows, rest.trace_rows, rest.states) == ([], [], {})


@pytest.mark.parametrize("step", [3, 6, 9, 12])
def test_going_on_from_a_checkpoint_repeats_every_bit(unbroken, step):
    trial, result, memory = unbroken
    torch.manual_seed(step)  # must not matter
    again, rest = run(trial, memory.states[step])
    assert again.metrics == result.metrics
    assert again.steps == result.steps
    assert again.seconds > 0
    assert rest.curve_rows == [row for row in memory.curve_rows if row["step"] > step]
    assert rest.trace_rows == [row for row in memory.trace_rows if row["step"] > step]
    assert sorted(rest.states) == [s for s in memory.states if s > step]
    for after, content in rest.states.items():
        assert same_numbers(content, memory.states[after], trial)


@pytest.mark.parametrize(("loss", "dtype"), [("raw", "float64"), ("equal", "float32")])
def test_going_on_with_other_losses_and_precisions(loss, dtype):
    configuration = small_configuration(loss=loss, scale="none", epochs=3, dtype=dtype, schedule="constant")
    trial = synthetic_trial(REFERENCE, configuration)
    result, memory = run(trial)
    again, rest = run(trial, memory.states[3])
    assert again.metrics == result.metrics
    assert same_numbers(rest.states[9], memory.states[9], trial)


def test_seeds_decide(unbroken):
    trial, result, memory = unbroken
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other = run(trial)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.metrics == result.metrics
    assert other.curve_rows == memory.curve_rows
    for name in ("split", "order", "initialisation"):
        changed = synthetic_trial(REFERENCE, trial.configuration, **{name: 17})
        assert run(changed)[0].metrics != result.metrics


def test_a_block_shares_its_split_and_a_replicate_its_start(unbroken):
    """Another order changes nothing before the first step; another initialisation does."""
    trial, _, memory = unbroken
    before = [row for row in memory.curve_rows + memory.trace_rows if row["step"] == 0]
    for name, equal in (("order", True), ("initialisation", False)):
        other = run(synthetic_trial(REFERENCE, trial.configuration, **{name: 17}))[1]
        assert ([row for row in other.curve_rows + other.trace_rows if row["step"] == 0] == before) is equal


@pytest.mark.parametrize(("loss", "metric"), [("overlap", "l2_error"), ("raw", "mse"), ("equal", "block_error.l4")])
def test_it_learns(loss, metric):
    """The loss of the training split falls fivefold, and the error of structures never seen by a third."""
    configuration = small_configuration(loss=loss, epochs=30)
    configuration = replace(configuration, data=replace(configuration.data, train=14))
    result, memory = run(synthetic_trial(REFERENCE, configuration))
    losses = [row["value"] for row in memory.curve_rows if row["metric"] == "loss"]
    assert losses[-1] < 0.2 * losses[0]
    name, _, order = metric.partition(".l")
    first = next(
        row["value"]
        for row in memory.curve_rows
        if row["metric"] == name and row["step"] == 0 and row["l"] == (int(order) if order else None)
    )
    assert result.metrics[f"test.{metric}"] < 0.67 * first


def test_no_validation_split():
    configuration = small_configuration(epochs=1)
    configuration = replace(configuration, data=replace(configuration.data, validation=0))
    result, memory = run(synthetic_trial(REFERENCE, configuration))
    assert {row["split"] for row in memory.curve_rows} == {"train", "test"}
    assert not any(name.startswith("validation") for name in result.metrics)


def test_a_network_that_can_make_no_features_is_refused():
    """1e cannot be made of scalars and harmonics of parity (−1)^l."""
    with pytest.raises(StudyFileError, match=r"network\.hidden: expected features .* got 4x1e"):
        run(synthetic_trial(REFERENCE, small_configuration(hidden="4x1e")))


def test_an_output_that_is_not_reached_is_not_learned():
    result, _ = run(synthetic_trial(REFERENCE, small_configuration(hidden="4x0e", epochs=1)))
    assert result.metrics["test.block_error.l3"] == pytest.approx(100)
    assert result.metrics["test.block_error.l2"] != pytest.approx(100)


def test_divergence_is_told_with_the_last_finite_values():
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=50, learning_rate=1e18, scale="none"))
    memory = Memory()
    with pytest.raises(DivergedError, match=r"became (nan|inf) in epoch \d+") as caught:
        train(trial, REFERENCE, memory, device="cpu")
    error = caught.value
    assert error.step % 3 == 0
    assert error.metrics["validation.l2_error"] == pytest.approx(
        [row["value"] for row in memory.curve_rows if row["metric"] == "l2_error"][-1]
    )
    assert str(error) == error.reason


def test_a_checkpoint_is_a_model_that_predicts(unbroken):
    trial, result, memory = unbroken
    model = restore_model(memory.states[12], trial, EMPTY)
    data = DataSet(REFERENCE, trial.configuration.network, torch.float32, torch.device("cpu"))
    test = split_structures(trial.configuration.data, range(len(data)), trial.seeds.split).test
    for value in measure(model, evaluation_batches(data, test)):
        assert result.metrics[f"test.{value.key}"] == value.value


def test_densities_are_traced_on_a_schedule_and_change_nothing():
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=4))
    traced, plain = Memory(), Memory()
    schedule = Traces(dense_epochs=1, growth=3, probe=1)
    results = [
        train(trial, REFERENCE, memory, device="cpu", traces=traces)
        for memory, traces in ((traced, replace(schedule, densities=2)), (plain, schedule))
    ]
    assert results[0].metrics == results[1].metrics
    extra = [row for row in traced.curve_rows if row not in plain.curve_rows]
    assert len(extra) == len(traced.curve_rows) - len(plain.curve_rows)
    assert {row["split"] for row in extra} == {"validation"}
    whole = {row["epoch"]: row["value"] for row in extra if row["metric"] == "epsilon"}
    assert list(whole) == [0, 1, 3, 4]
    # At the end, it is what the model of the last checkpoint has on the first two validation structures.
    data = DataSet(REFERENCE, trial.configuration.network, torch.float32, torch.device("cpu"))
    model = restore_model(traced.states[12], trial, EMPTY)
    split = split_structures(trial.configuration.data, range(len(data)), trial.seeds.split)
    expected = next(v.value for v in measure_densities(model, data, split.validation[:2]) if v.metric == "epsilon")
    assert whole[4] == pytest.approx(expected, rel=1e-6)


def test_a_fold_is_what_a_trial_is_tested_on():
    trial = synthetic_trial(REFERENCE, small_configuration(), fold=1)
    memory = Memory()
    result = train(trial, REFERENCE, memory, device="cpu")
    model = restore_model(memory.states[12], trial, EMPTY)
    data = DataSet(REFERENCE, trial.configuration.network, torch.float32, torch.device("cpu"))
    test = permutation(trial.seeds.split, len(data))[4:8]  # the second fold of four structures
    for value in measure(model, evaluation_batches(data, test)):
        assert result.metrics[f"test.{value.key}"] == value.value


def test_a_checkpoint_of_another_trial_is_refused(unbroken):
    trial, _, memory = unbroken
    other = synthetic_trial(REFERENCE, trial.configuration, order=17)
    with pytest.raises(RecordError, match=f"of trial {other.id[:12]}, got one of trial {trial.id[:12]}"):
        run(other, memory.states[3])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_bytes_that_are_no_checkpoint_are_refused(unbroken):
    """Torn at any length, torn with zeros for the rest, or another thing altogether."""
    trial, _, memory = unbroken
    whole, generator = memory.states[3], random.Random(0)
    lengths = [*range(0, len(whole), 97), len(whole) - 1]
    wrong = [whole[:length] for length in lengths]
    filled = (whole[:length].ljust(len(whole), b"\0") for length in lengths[::10])
    wrong += [content for content in filled if content != whole]  # its last bytes are zeros
    wrong += [generator.randbytes(generator.randrange(300)) for _ in range(300)]
    wrong += [pickle.dumps(thing) for thing in ({}, [], "no checkpoint", {"trial": trial.id})]
    for content in wrong:
        with pytest.raises(RecordError, match="cannot be read"):
            read_checkpoint(content, trial)


def test_cold_and_warm_caches_of_operators_give_the_same_numbers(tmp_path, monkeypatch):
    """To the last bit: rows, metrics and weights, whether the operator is compiled or found."""
    trial = synthetic_trial(REFERENCE, small_configuration(hidden="2x0e+1x1o", epochs=1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runs = []
    for _ in range(2):
        open_library.cache_clear()
        open_operator.cache_clear()
        runs.append(run(trial))
        built = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "tesseral" / "operators").iterdir())
    assert built
    (cold, first), (warm, second) = runs
    assert cold.metrics == warm.metrics
    assert (first.curve_rows, first.trace_rows) == (second.curve_rows, second.trace_rows)
    assert same_numbers(first.states[3], second.states[3], trial)


def test_a_trial_of_other_data_or_numerics_is_refused(unbroken):
    trial, _, _ = unbroken
    with pytest.raises(DataError, match=r"data\.reference: expected the trial's data"):
        train(trial, synthetic_reference(seed=1), Memory(), device="cpu")
    with pytest.raises(RecordError, match="numerics"):
        run(replace(trial, numerics=trial.numerics + 1))


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(TesseralError, match=r"resources.device: expected auto or one of cpu.*, got 'cuda:99'"):
        find_device("cuda:99")
    assert find_device("cpu") == torch.device("cpu")


def test_test_sets_are_measured_beside_the_test_split(unbroken):
    """A test set that holds the structures of the test split has its errors, and changes no other number."""
    trial, result, _ = unbroken
    split = split_structures(trial.configuration.data, range(len(REFERENCE)), trial.seeds.split)
    same = replace(REFERENCE, table=REFERENCE.table.take(list(split.test)))
    other = synthetic_reference(6, seed=5)
    tests = {"same": same, "other": other}
    paths = {name: f"reference/{name}.parquet" for name in tests}
    data = replace(trial.configuration.data, tests=paths)
    hashes = {name: reference.content_hash for name, reference in tests.items()}
    asking = replace(trial, configuration=replace(trial.configuration, data=data), tests=hashes)
    assert asking.id != trial.id
    beside = Memory()
    options = {"device": "cpu", "traces": TRACES_OFTEN}
    measured = train(asking, REFERENCE, beside, tests=tests, **options).metrics
    assert {name: value for name, value in measured.items() if name.split(".")[0] not in tests} == result.metrics
    of_test = {name.removeprefix("test."): value for name, value in result.metrics.items() if name.startswith("test.")}
    for name, value in of_test.items():
        assert measured[f"same.{name}"] == pytest.approx(value, rel=1e-5), name
        assert measured[f"other.{name}"] != value, name
    rows = {row["split"]: row["step"] for row in beside.curve_rows if row["split"] in tests}
    assert rows == {"same": 12, "other": 12}
    with pytest.raises(DataError, match=r"data\.tests\.other: expected the trial's data, of content \w{12}, got none"):
        train(asking, REFERENCE, Memory(), tests={"same": same}, **options)
    searched = train(asking, REFERENCE, Memory(), test=False, **options).metrics
    assert {name.split(".")[0] for name in searched} == {"train", "validation"}, "a search needs no test set"
