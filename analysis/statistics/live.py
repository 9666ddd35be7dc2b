"""A study while it runs, from its records alone: so from any machine that reads the storage.

The time left. Let T be the seconds of a trial, the mean over the complete trials of its arm; of an arm without any,
c · FLOPs · steps with c = ΣT / ΣFLOPs·steps over all complete trials; before the first, that of a running trial is its
time so far over the share of steps done in it. Then

    left = max(Σ T·(1 − done) / n, max T·(1 − done)),

over all trials that have not ended, with n trials running at once. It holds if as many go on running at once, and if a
search or a sequential allocation adds no trial.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tesseral.analysis.statistics.progress import state_counts
from tesseral.analysis.tables.in_units import asked_units, in_units
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.open import open_trials
from tesseral.analysis.tables.running import RunningTrial, running_trials
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.configuration.trial import State
from tesseral.study.records.counted import of_arms
from tesseral.study.records.lease import driver
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store

RATE_OVER = timedelta(minutes=10)
"""Time over which trials that ended are counted as a rate."""


@dataclass(frozen=True)
class ArmNow:
    """An arm in one stage."""

    stage: str
    arm: str
    due: int
    """Trials that are known to be due, whatever their state."""
    states: dict[str, int]
    """State → number of trials in it."""
    best: float | None
    """Lowest error of a complete trial; None before the first. The lowest of many is no result: a report has those."""
    unit: str
    """Unit of that error, such as `meV/Å`; empty if it has none."""

    @property
    def ended(self) -> int:
        """Trials that have an outcome."""
        return sum(number for state, number in self.states.items() if State(state).finished)


@dataclass(frozen=True)
class Now:
    """How a study stands at one moment."""

    study: str
    driver: str | None
    """Who drives it; None if nobody does."""
    arms: tuple[ArmNow, ...]
    running: tuple[RunningTrial, ...]
    """Trials that were begun and have not ended. Without a driver they are interrupted."""
    failures: tuple[dict[str, Any], ...]
    """Failed trials: `trial`, `arm`, `cause`, `reason`."""
    rate: float | None
    """Trials that end in an hour, over the last ten minutes; None before the first."""
    left: float | None
    """Seconds until all known trials have ended; None where it is not known, or nobody drives the study."""

    @property
    def due(self) -> int:
        """Trials that are known to be due, whatever their state."""
        return sum(arm.due for arm in self.arms)

    @property
    def ended(self) -> int:
        """Trials that have an outcome."""
        return sum(arm.ended for arm in self.arms)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        tree = asdict(self)
        for trial in tree["running"]:
            trial["began"] = trial["began"].isoformat()
        return tree


class LiveStudy:
    """A study that is looked at again and again. What has ended is read once.

    :param storage: folder or URL that holds the study.
    :param name: of the study.
    :param units: names of units to take in the place of the study's, such as `eV`; `atomic` stands for those of the
        data.
    """

    def __init__(self, storage: str | Path, name: str, units: Sequence[str] = ()) -> None:
        self._storage, self._name, self._units = storage, name, tuple(units)
        self._store = Store(storage).child(name)
        self._ledger = Ledger(self._store)

    def now(self, time: datetime | None = None) -> Now:
        """How it stands.

        :param time: the present time; None asks the clock.
        :raises StudyFileError: if no study of that name was started there.
        :raises TesseralError: if a unit is none that errors are shown in.
        """
        time = time or datetime.now(UTC)
        tables = open_trials(self._storage, self._name, self._ledger)
        tables = in_units(tables, asked_units([tables], self._units))
        running = running_trials(self._store, of_arms(self._ledger.entries(), tables.study.arms))
        holder = driver(self._store)
        counts = state_counts(tables)
        trials = tables.trials
        failed = trials.filter(trials["state"] == State.FAILED.value).select("trial", "arm", "cause", "reason")
        return Now(
            study=self._name,
            driver=None if holder is None else str(holder),
            arms=tuple(
                ArmNow(
                    stage,
                    arm,
                    states.total(),
                    {state.value: number for state, number in states.items()},
                    _best(tables, stage, arm),
                    describe(_metric(tables, stage), tables.study.target_of(arm)).unit,
                )
                for stage, arms in counts.items()
                for arm, states in arms.items()
            ),
            running=tuple(running),
            failures=tuple(failed.to_dicts()),
            rate=_rate(trials, time),
            left=None if holder is None else _left(tables, running, time),
        )


def _best(tables: StudyTables, stage: str, arm: str) -> float | None:
    column = f"metric.{_metric(tables, stage)}"
    if column not in tables.trials.columns:
        return None
    own = (pl.col("stage") == stage) & (pl.col("arm") == arm) & (pl.col("state") == State.COMPLETE.value)
    errors: list[float] = tables.trials.filter(own)[column].drop_nulls().to_list()
    return min(errors, default=None)


def _metric(tables: StudyTables, stage: str) -> str:
    """What a stage is judged by, such as `validation.error`."""
    study = tables.study
    return study.objectives[0] if stage == "search" else study.metric


def _rate(trials: pl.DataFrame, time: datetime) -> float | None:
    """Trials an hour that ended here: those that were copied from another study took no time."""
    own = trials.filter(pl.col("ended").is_not_null() & pl.col("reused").is_null())
    begun: list[datetime] = own["started"].drop_nulls().to_list()
    if not begun:
        return None
    over = min(RATE_OVER, max(time - min(begun), timedelta(seconds=1)))
    return own.filter(pl.col("ended") > time - over).height / over.total_seconds() * 3600


def _left(tables: StudyTables, running: list[RunningTrial], time: datetime) -> float | None:
    trials = tables.trials.with_columns(work=pl.col("flops").cast(pl.Float64) * pl.col("max_steps"))
    whole = trials.filter(
        (pl.col("state") == State.COMPLETE.value) & pl.col("seconds").is_not_null() & pl.col("reused").is_null()
    )
    seconds: dict[str, float] = dict(whole.group_by("arm").agg(pl.mean("seconds")).iter_rows())
    if work := sum(whole["work"].drop_nulls().to_list()):
        scale = sum(whole["seconds"].to_list()) / work
        works: dict[str, float] = dict(trials.drop_nulls("work").group_by("arm").agg(pl.mean("work")).iter_rows())
        seconds = {arm: scale * work for arm, work in works.items()} | seconds
    if not seconds:
        so_far = defaultdict(list)
        for trial in running:
            if trial.step > trial.start:
                spent = (time - trial.began).total_seconds()
                so_far[trial.arm].append(spent * trial.steps / (trial.step - trial.start))
        seconds = {arm: sum(each) / len(each) for arm, each in so_far.items()}
    if not seconds or not running:
        return None
    usual = sum(seconds.values()) / len(seconds)
    rests = [seconds.get(trial.arm, usual) * (1 - trial.done) for trial in running]
    planned = sum(
        states[State.PLANNED] * seconds.get(arm, usual)
        for arms in state_counts(tables).values()
        for arm, states in arms.items()
    )
    return max((sum(rests) + planned) / len(running), *rests)
