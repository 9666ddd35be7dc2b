"""A study while it runs: what runs where, and the time left by its formula."""

from datetime import UTC, datetime, timedelta

import pytest

from tesseral.analysis.statistics.live import LiveStudy
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.growth import drop
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study

WHERE = {"host": "vm", "address": "10.0.0.2", "node": "f00dcafe", "pid": 1, "device": "cpu"}


class Partly(InlineExecutor):
    """Trains the first trials, begins two more, and looks while their driver is alive."""

    def __init__(self, look, whole: int) -> None:
        super().__init__()
        self.look, self.whole = look, whole

    def run(self, work) -> None:
        jobs = []
        while (job := work.suggest()) is not None:
            jobs.append(job)
            if len(jobs) <= self.whole:
                self._runner(job)
                work.ended(job.trial)
        for job, epochs in zip(jobs[self.whole :], (3, 0), strict=False):
            store = Store(job.storage).child(job.study)
            attempt = Attempt.begin(store, job.trial, job.lease, WHERE, seal_every=0.0)
            for epoch in range(1, epochs + 1):
                row = {"step": 2 * epoch, "epoch": epoch, "split": "train", "metric": "loss", "value": 1 / epoch}
                attempt.curves([row, row | {"split": "validation", "metric": "l2_error", "value": 9.0}])
                attempt.boundary(2 * epoch, 12, bytes, {})
        self.look()
        for job in jobs[self.whole :]:
            work.lost(job.trial, "left")


def test_the_time_left_follows_from_what_ended_and_what_runs(storage, study_file):
    """Six trials of 12 steps in two arms: three ended, one at half, one at its start, one due; two run at once."""
    seen = []

    def look() -> None:
        seen.append((LiveStudy(storage, "small").now(), {e.id: e for e in Ledger(Store(storage / "small")).entries()}))

    run_study(prepare(Study.load(study_file), str(storage)), Partly(look, whole=3), Silent())
    ((now, entries),) = seen
    assert (now.study, now.ended, now.due, len(now.failures)) == ("small", 3, 6, 0)
    assert now.driver.startswith("process ")
    half, fresh = sorted(now.running, key=lambda trial: -trial.done)
    assert (half.step, half.steps, half.epoch, half.epochs, half.loss) == (6, 12, 3, 6, pytest.approx(1 / 3))
    assert (fresh.step, fresh.epoch, fresh.loss) == (0, 0, None)
    assert (half.place, half.device) == ("vm 10.0.0.2 (f00dca)", "cpu")
    ended = [entry for entry in entries.values() if entry.outcome]
    by_arm: dict[str, list[float]] = {}
    for entry in ended:
        by_arm.setdefault(entry.plan["arm"], []).append(entry.outcome["seconds"])
    seconds = {arm: sum(each) / len(each) for arm, each in by_arm.items()}
    assert len(seconds) == 2, "trials of both arms have ended"
    (due,) = (entry for entry in entries.values() if not entry.begins)
    rests = [seconds[half.arm] / 2, seconds[fresh.arm]]
    assert now.left == pytest.approx(max((sum(rests) + seconds[due.plan["arm"]]) / 2, *rests))
    errors = [e.outcome["metrics"]["test.l2_error"] for e in ended if e.plan["arm"] == now.arms[0].arm]
    assert now.arms[0].best == min(errors)


def test_an_arm_without_an_ended_trial_takes_the_time_of_its_operations(storage, study_file):
    seen = []
    run_study(
        prepare(Study.load(study_file), str(storage)),
        Partly(lambda: seen.append((LiveStudy(storage, "small").now(), Ledger(Store(storage / "small")).entries())), 1),
        Silent(),
    )
    ((now, entries),) = seen
    (ended,) = (entry for entry in entries if entry.outcome)
    per_operation = ended.outcome["seconds"] / (ended.plan["flops"] * ended.plan["max_steps"])
    by_id = {trial.trial: trial for trial in now.running}
    shares = {
        entry.id: 1 - (by_id[entry.id].done if entry.id in by_id else 0) for entry in entries if not entry.outcome
    }
    work = {entry.id: entry.plan["flops"] * entry.plan["max_steps"] for entry in entries}
    rests = {trial: per_operation * work[trial] * share for trial, share in shares.items()}
    expected = max(sum(rests.values()) / 2, *(rests[trial] for trial in by_id))
    assert now.left == pytest.approx(expected, rel=1e-4)  # blocks of an arm differ a little in their operations


def test_an_interrupted_trial_of_a_dropped_arm_runs_no_more(storage, study_file):
    study = Study.load(study_file)
    run_study(prepare(study, str(storage)), Partly(lambda: None, whole=3), Silent())
    live = LiveStudy(storage, "small")
    assert "lmax=1" in [trial.arm for trial in live.now().running]
    drop(Store(storage / "small"), study.arms[1], 1)
    assert "lmax=1" not in [trial.arm for trial in live.now().running]


def test_before_the_first_end_a_running_trial_tells_the_time(storage, study_file):
    seen = []

    def look() -> None:
        live = LiveStudy(storage, "small")
        (half, _) = sorted(live.now().running, key=lambda trial: -trial.done)
        seen.append(live.now(half.began + timedelta(seconds=30)))

    run_study(prepare(Study.load(study_file), str(storage)), Partly(look, whole=0), Silent())
    assert seen[0].rate is None
    # 60 s a trial: (30 + 60 + 4 · 60) / 2, with two running at once
    assert seen[0].left == pytest.approx((30 + 60 + 4 * 60) / 2)


def test_the_rate_counts_the_last_ten_minutes_and_without_a_driver_nothing_is_foretold(storage, study_file):
    run_study(prepare(Study.load(study_file), str(storage)), Partly(lambda: None, whole=4), Silent())
    live = LiveStudy(storage, "small")
    assert live.now(datetime.now(UTC) + timedelta(minutes=5)).rate == pytest.approx(4 / 300 * 3600, rel=0.1)
    later = live.now(datetime.now(UTC) + timedelta(hours=1))
    assert (later.rate, later.left, later.driver) == (0.0, None, None)
    assert len(later.running) == 2
