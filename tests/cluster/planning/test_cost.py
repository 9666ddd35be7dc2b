"""Rates: recovered from trials of known cost, kept by device and study, and true of a study that was really run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tesseral.cluster.campaign.display import Display, Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.cost import PRIOR, SHIPPED, Rate, read_rate, record_rate, recorded_rates
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
    threads: tuple[int | None, ...] = (1,),
    **outcome,
) -> None:
    """Records of complete trials: (flops, steps, seconds). `threads` are those of each attempt."""
    store = Store(storage).child(study)
    for number, (flops, steps, seconds) in enumerate(trials):
        trial = f"{device[:3]}{threads[0] or 0}{number:060d}"
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
        for attempt, cpus in enumerate(threads, start=1):
            begin = {"trial": trial, "attempt": attempt, "lease": 1, "start": 0, "began": "2025-03-01T11:00:00+00:00"}
            own = {} if cpus is None else {"cpus": cpus}
            store.create(f"trials/{trial}/attempts/{attempt}.json", seal(begin | own))
        ended |= {"seconds": seconds, "steps": steps} | outcome
        store.create(f"trials/{trial}/outcome.json", seal(ended))


def recorded(storage: Path, study: str) -> list[Rate]:
    """The rates of a storage, after those of a study are recorded."""
    record_rate(str(storage), study)
    return recorded_rates(str(storage))


def share(storage: Path, device: str, study: str, path: str) -> None:
    """Put the sums of a study in a file for several studies, as earlier versions did."""
    store = Store(storage)
    own = json.loads(store.read(path))
    store.delete([path])
    shared = {"device": device, "setup": 1.0, "overhead": 1.0, "per_flop": 1.0, "trials": own["trials"], "model": 2}
    sums = {key: own[key] for key in ("trials", "xx", "x")}
    store.replace(path.replace(f"/{study}", ""), seal(shared | {"studies": {study: sums}}))


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
    (alone,) = recorded(tmp_path, "energies")
    other = tmp_path / "forces"
    beside = overheads("mace", "none", differentiated=True)
    times = [(f, n, true.trial(f, n, beside)) for f, n in SIZES]
    record(other, "forces", times, target="forces", interaction="mace")
    (rate,) = recorded(other, "forces")
    for flops, steps in SIZES:
        assert rate.trial(flops, steps) == pytest.approx(alone.trial(flops, steps), rel=0.15)
        assert rate.trial(flops, steps, beside) == pytest.approx(true.trial(flops, steps, beside), rel=0.15)


def test_rates_of_an_earlier_model_are_left_out(tmp_path):
    record(tmp_path, "one", cost(SHIPPED, SIZES))
    recorded(tmp_path, "one")
    earlier = json.loads((tmp_path / "rates" / "cpu" / "one.json").read_text())
    assert read_rate(str(tmp_path), CPU).trials == len(SIZES)
    del earlier["sha256"]
    Store(tmp_path).replace("rates/cpu/one.json", seal(earlier | {"model": 1}))
    assert read_rate(str(tmp_path), CPU) == SHIPPED
    (rate,) = recorded(tmp_path, "one")
    assert rate.trials == len(SIZES)


@pytest.mark.parametrize("faster", [1.0, 0.05, 30.0])
def test_a_machine_that_is_faster_by_one_factor_is_recovered(tmp_path, faster):
    true = Rate("cpu", *(faster * z for z in (SHIPPED.setup, SHIPPED.overhead, SHIPPED.per_flop)))
    record(tmp_path, "one", cost(true, SIZES))
    (rate,) = recorded(tmp_path, "one")
    assert rate == replace(true, trials=12, setup=pytest.approx(true.setup), overhead=pytest.approx(true.overhead),
                           per_flop=pytest.approx(true.per_flop))  # fmt: skip
    assert read_rate(str(tmp_path), CPU) == rate


def test_other_proportions_are_recovered_through_noise(tmp_path):
    true = Rate("cpu", setup=0.2, overhead=2e-3, per_flop=1e-10)
    record(tmp_path, "one", cost(true, 20 * SIZES, noise=0.1))
    (rate,) = recorded(tmp_path, "one")
    for flops, steps in SIZES:
        assert rate.trial(flops, steps) == pytest.approx(true.trial(flops, steps), rel=0.1)


def test_coefficients_are_never_negative(tmp_path):
    record(tmp_path, "one", [(flops, 100, 1.0 + 0.1 / flops * 1e6) for flops in (1e6, 1e7, 1e8)] * 10)
    (rate,) = recorded(tmp_path, "one")
    assert rate.setup >= 0
    assert rate.overhead >= 0
    assert rate.per_flop >= 0


def test_one_trial_scales_the_shipped_rate(tmp_path):
    record(tmp_path, "one", [(1e8, 100, 7 * SHIPPED.trial(1e8, 100))])
    (rate,) = recorded(tmp_path, "one")
    for flops, steps in SIZES:
        assert rate.trial(flops, steps) == pytest.approx(7 * SHIPPED.trial(flops, steps))
    assert PRIOR > 0, "without it, one trial could not be fitted at all"


def test_studies_add_up_and_none_counts_twice(tmp_path):
    true = Rate("cpu", setup=1.0, overhead=1e-3, per_flop=3e-10)
    rows = cost(true, SIZES)
    record(tmp_path, "whole", rows)
    record(tmp_path, "first", rows[:5])
    record(tmp_path, "second", rows[5:])
    (whole,) = recorded(tmp_path, "whole")
    Store(tmp_path).delete(["rates/cpu/whole.json"])
    for study in ("first", "second", "first", "second"):
        (rate,) = recorded(tmp_path, study)
    assert rate.trials == whole.trials == 12
    assert (rate.setup, rate.overhead, rate.per_flop) == pytest.approx((whole.setup, whole.overhead, whole.per_flop))


def test_studies_that_end_together_lose_nothing(tmp_path, monkeypatch):
    """The second study records its trials while the first one writes."""
    for study in ("first", "second"):
        record(tmp_path, study, cost(SHIPPED, SIZES[:3]))
    replaced = Store.replace

    def together(store: Store, path: str, data: bytes) -> None:
        monkeypatch.undo()
        record_rate(str(tmp_path), "second")
        replaced(store, path, data)

    monkeypatch.setattr(Store, "replace", together)
    (rate,) = recorded(tmp_path, "first")
    assert rate.trials == 6


def test_a_file_of_several_studies_still_counts_where_its_threads_do_not_matter(tmp_path):
    record(tmp_path, "one", cost(SHIPPED, SIZES[:3]), device="Tesla V100")
    record(tmp_path, "two", cost(SHIPPED, SIZES[:4]), device="Tesla V100")
    (one,) = recorded(tmp_path, "one")
    share(tmp_path, "Tesla V100", "one", "rates/tesla-v100/one.json")
    assert recorded_rates(str(tmp_path)) == [one]
    assert [rate.trials for rate in recorded(tmp_path, "two")] == [7]
    assert [rate.trials for rate in recorded(tmp_path, "one")] == [7], "no trial counts twice"


def test_a_file_of_several_studies_on_an_unknown_number_of_threads_is_left_out(tmp_path):
    record(tmp_path, "one", cost(SHIPPED, SIZES[:3]))
    recorded(tmp_path, "one")
    share(tmp_path, "cpu", "one", "rates/cpu/one.json")
    assert read_rate(str(tmp_path), CPU) == SHIPPED


def test_each_number_of_threads_has_its_own_rate(tmp_path):
    slow, fast = Rate("cpu", 0.2, 2e-3, 1e-10), Rate("cpu", 0.1, 1e-3, 1e-11)
    record(tmp_path, "one", cost(fast, SIZES), threads=(8,))
    (of_eight,) = recorded(tmp_path, "one")
    assert of_eight.source == "12 trials recorded in this storage, on cpu with 8 threads"
    assert read_rate(str(tmp_path), Resources(cpus=8)) == of_eight
    assert read_rate(str(tmp_path), CPU) == SHIPPED, "eight threads tell nothing of one"
    record(tmp_path, "one", cost(slow, SIZES[:6]))
    of_one, again = recorded(tmp_path, "one")
    assert (of_one.threads, of_one.trials, again) == (1, 6, of_eight)
    assert read_rate(str(tmp_path), CPU) == of_one
    of_two = read_rate(str(tmp_path), Resources(cpus=2))
    assert of_two == replace(of_one, planned=2)
    assert of_two.source == (
        "6 trials recorded in this storage, on cpu; 2 threads, with which no trial is recorded, should take less"
    )


def test_trials_of_several_or_unknown_numbers_of_threads_do_not_count(tmp_path):
    record(tmp_path, "changed", cost(SHIPPED, SIZES), threads=(1, 8))
    record(tmp_path, "unknown", cost(SHIPPED, SIZES), threads=(None,))
    assert recorded(tmp_path, "changed") == recorded(tmp_path, "unknown") == []
    record(tmp_path, "gpu", cost(SHIPPED, SIZES), threads=(1, 8), device="Tesla V100")
    assert [rate.trials for rate in recorded(tmp_path, "gpu")] == [12]


def test_trials_that_say_nothing_of_this_device_do_not_count(tmp_path):
    record(tmp_path, "copied", [(1e8, 100, 5.0)], reused="other")
    record(tmp_path, "failed", [(1e8, 100, 5.0)], state="failed")
    assert recorded(tmp_path, "copied") == recorded(tmp_path, "failed") == []
    assert not (tmp_path / "rates").exists()


def test_each_device_has_its_own_rate(tmp_path):
    assert read_rate(str(tmp_path), CPU) == SHIPPED
    assert read_rate(str(tmp_path), GPU) is None, "none is shipped"
    record(tmp_path, "one", cost(SHIPPED, SIZES[:3]))
    record(tmp_path, "one", cost(Rate("gpu", 1.0, 1e-3, 1e-13), SIZES), device="NVIDIA H100 80GB HBM3")
    record(tmp_path, "one", cost(Rate("old", 1.0, 1e-2, 1e-12), SIZES[:2]), device="Tesla V100")
    assert {rate.device for rate in recorded(tmp_path, "one")} == {"cpu", "NVIDIA H100 80GB HBM3", "Tesla V100"}
    assert sorted(path.name for path in (tmp_path / "rates").iterdir()) == [
        "cpu", "nvidia-h100-80gb-hbm3", "tesla-v100"
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
    Store(tmp_path).replace("rates/cpu/one.json", b'{"device": "cp')
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
