"""The short answer: one row an arm with its error, its change against the baseline, and what it cost."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from tesseral.analysis.load import StudyTables
from tesseral.analysis.statistics import ArmError, Comparison, against, by_arm
from tesseral.analysis.wording import describe, duration, interval, p_value
from tesseral.study.trial import State


@dataclass(frozen=True)
class Row:
    """An arm in the summary."""

    arm: str
    error: ArmError
    comparison: Comparison | None
    """None for the baseline."""
    parameters: int | None
    """Trainable numbers of the network; None before a trial of the arm is planned."""
    seconds: float | None
    """Median training time of its complete trials."""
    unreachable: str | None
    """Outputs that the arm cannot reach, predicted zero."""
    failed: int
    """Failed trials."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader of the row must know."""
        flags = [f"cannot reach {self.unreachable}"] if self.unreachable else []
        if self.failed:
            flags.append(f"{self.failed} failed")
        if self.error.units and self.error.error is not None and self.error.error.low is None:
            flags.append(f"too few {self.error.unit}s for an interval")
        return tuple(flags)


@dataclass(frozen=True)
class Progress:
    """How many trials of the confirm stage stand where."""

    planned: int
    """All of them."""
    complete: int
    failed: int
    running: int

    @property
    def unfinished(self) -> int:
        """Trials that are neither complete nor failed (or pruned)."""
        return self.planned - self.complete - self.failed


def rows(tables: StudyTables) -> list[Row]:
    """The summary of a study, in the order of its arms.

    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    """
    study, trials = tables.study, tables.trials
    compared = against(trials, study.metric, study.arms, study.baseline, study.blocks)
    comparisons = {comparison.arm: comparison for comparison in compared}
    summaries = by_arm(trials, study.metric, study.arms, study.blocks)
    return [_row(trials, error, comparisons.get(error.arm)) for error in summaries]


def _row(trials: pl.DataFrame, error: ArmError, comparison: Comparison | None) -> Row:
    of_arm = trials.filter(pl.col("stage") == "confirm", pl.col("arm") == error.arm)
    complete = of_arm.filter(pl.col("state") == State.COMPLETE.value)
    unreachable = of_arm["unreachable"].drop_nulls().unique().sort().to_list()
    return Row(
        arm=error.arm,
        error=error,
        comparison=comparison,
        parameters=next(iter(of_arm["parameters"].drop_nulls()), None),
        seconds=complete.select(pl.col("seconds").median()).item(),
        unreachable=", ".join(unreachable) or None,
        failed=of_arm.filter(pl.col("state") == State.FAILED.value).height,
    )


def progress(tables: StudyTables) -> Progress:
    """Counts of the confirm stage's trials by state."""
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    counts = dict(confirm["state"].value_counts().iter_rows())
    ended = counts.get(State.FAILED.value, 0) + counts.get(State.PRUNED.value, 0)
    complete, running = (counts.get(state.value, 0) for state in (State.COMPLETE, State.RUNNING))
    return Progress(tables.study.planned, complete, ended, running)


def table(tables: StudyTables) -> list[dict[str, str]]:
    """The summary as text, one dictionary (heading → cell) for each arm; for a terminal and for the report."""
    metric = describe(tables.study.metric)
    return [
        {
            "arm": row.arm,
            "trials": str(row.error.trials),
            f"error{f', {metric.unit}' if metric.unit else ''}": interval(row.error.error) if row.error.error else "–",
            "change, %": _change(row),
            "Holm p": _p(row.comparison),
            "parameters": "–" if row.parameters is None else f"{row.parameters:,}",
            "time": "–" if row.seconds is None else duration(row.seconds),
            "notes": "; ".join(row.flags),
        }
        for row in rows(tables)
    ]


def _change(row: Row) -> str:
    if row.comparison is None:
        return "baseline"
    return interval(row.comparison.change, signed=True) if row.comparison.change else "–"


def _p(comparison: Comparison | None) -> str:
    return "" if comparison is None or comparison.p_holm is None else p_value(comparison.p_holm)


def to_dict(tables: StudyTables) -> dict[str, Any]:
    """The summary as plain values that JSON can hold: study, metric, baseline, progress, and each arm's `Row`.

    Estimates hold value, low, high (95 %) and p; `change` is in percent of the baseline's error.
    """
    return {
        "study": tables.study.name,
        "metric": tables.study.metric,
        "baseline": tables.study.baseline,
        "progress": asdict(progress(tables)),
        "arms": [asdict(row) | {"flags": row.flags} for row in rows(tables)],
    }
