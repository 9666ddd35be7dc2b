"""The short answer: one row an arm with its error, its change against the baseline, and what it cost."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from tesseral.analysis.allocation import allocation, blocks_given
from tesseral.analysis.load import StudyTables
from tesseral.analysis.notes import notes
from tesseral.analysis.search import ArmSearched, searched
from tesseral.analysis.statistics import ArmError, Comparison, against, by_arm
from tesseral.analysis.wording import describe, duration, interval, p_value, scaled
from tesseral.study.trial import State

WORDS = ("arm", "matched in", "notes")
"""Columns of the summary that hold words; the others hold numbers."""
LOOSE = 0.01
"""Residual of a match from which on it is flagged."""


@dataclass(frozen=True)
class Row:
    """An arm in the summary."""

    arm: str
    error: ArmError
    comparison: Comparison | None
    """None for the baseline."""
    parameters: int | None
    """Trainable numbers of the network; None before a trial of the arm is due."""
    parameters_live: int | None
    """Those that a gradient can reach."""
    components: int | None
    """Numbers that the hidden features of an atom hold, in the widest layer."""
    flops: int | None
    """Floating-point operations of a training step."""
    match: str
    """In what the arm was made equal to others: none, parameters, components or flops."""
    residual: float | None
    """Size over the size that it is matched to, less 1."""
    seconds: float | None
    """Median training time of its complete trials."""
    unreachable: str | None
    """Outputs that the arm cannot reach, predicted zero."""
    failed: int
    """Failed trials."""
    confirmed: bool
    """False if no trial of the arm's search was completed, so that there is nothing to confirm."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader of the row must know."""
        flags = [f"cannot reach {self.unreachable}"] if self.unreachable else []
        if not self.confirmed:
            flags.append("not confirmed: no trial of its search was completed")
        if self.match != "none" and self.residual is not None and abs(self.residual) > LOOSE:
            flags.append(f"{_percent(self.residual)} % off the size that it is matched to")
        if self.failed:
            flags.append(f"{self.failed} failed")
        if self.error.units and self.error.error is not None and self.error.error.low is None:
            flags.append(f"too few {self.error.unit}s for an interval")
        return tuple(flags)


@dataclass(frozen=True)
class Progress:
    """How many trials of a stage stand where."""

    planned: int
    """All of them, as far as is known."""
    complete: int
    pruned: int
    """Stopped early, in the search."""
    failed: int
    running: int

    @property
    def ended(self) -> int:
        """Trials that will not change any more."""
        return self.complete + self.pruned + self.failed

    @property
    def unfinished(self) -> int:
        """Trials that are neither complete nor stopped early nor failed."""
        return self.planned - self.ended


def rows(tables: StudyTables) -> list[Row]:
    """The summary of a study, in the order of its arms.

    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    """
    study, trials = tables.study, tables.trials
    compared = against(trials, study.metric, study.arms, study.baseline, study.most_blocks)
    comparisons = {comparison.arm: comparison for comparison in compared}
    facts, given = _facts(trials), blocks_given(tables)
    return [
        Row(
            arm=error.arm,
            error=error,
            comparison=comparisons.get(error.arm),
            confirmed=given[error.arm] > 0,
            **facts.get(error.arm, _NOTHING),
        )
        for error in by_arm(trials, study.metric, study.arms, study.most_blocks)
    ]


_FIRST = ("parameters", "parameters_live", "components", "flops", "match", "residual")
_NOTHING: dict[str, Any] = dict.fromkeys((*_FIRST, "seconds", "unreachable")) | {"match": "none", "failed": 0}


def _facts(trials: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Arm → what the trials of its confirm stage share, and what they cost."""
    state = pl.col("state")
    frame = (
        trials.filter(pl.col("stage") == "confirm")
        .group_by("arm")
        .agg(
            pl.col(*_FIRST).drop_nulls().first(),
            pl.col("seconds").filter(state == State.COMPLETE.value).median(),
            pl.col("unreachable").drop_nulls().unique().sort().str.join(", "),
            failed=(state == State.FAILED.value).sum(),
        )
        .with_columns(
            pl.col("match").fill_null("none"),
            pl.when(pl.col("unreachable") != "").then("unreachable"),
        )
    )
    return {row.pop("arm"): row for row in frame.to_dicts()}


def progress(tables: StudyTables) -> Progress:
    """Counts of the confirm stage's trials by state."""
    planned = sum(blocks_given(tables).values()) * tables.study.replicates
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    counts = dict(confirm["state"].value_counts().iter_rows())
    states = (State.COMPLETE, State.PRUNED, State.FAILED, State.RUNNING)
    return Progress(planned, *(counts.get(state.value, 0) for state in states))


def search_rows(tables: StudyTables) -> list[ArmSearched]:
    """The search of every arm, in order; empty for a study without a search."""
    study = tables.study
    if study.search is None:
        return []
    return searched(tables.trials, tables.search, study.arms, study.search.trials, study.objectives[0])


def search_progress(tables: StudyTables) -> Progress | None:
    """Counts of the search's distinct proposals by state; None for a study without a search."""
    found = search_rows(tables)
    if not found:
        return None
    searching = pl.col("stage") == "search", pl.col("state") == State.RUNNING.value
    return Progress(
        planned=sum(arm.planned for arm in found),
        complete=sum(arm.complete for arm in found),
        pruned=sum(arm.pruned for arm in found),
        failed=sum(arm.failed for arm in found),
        running=tables.trials.filter(*searching).height,
    )


def table(tables: StudyTables) -> list[dict[str, str]]:
    """The summary as text, one dictionary (heading → cell) for each arm; for a terminal and for the report."""
    metric, summary = describe(tables.study.metric), rows(tables)
    units = {row.match for row in summary} - {"none"}
    flops = any(row.flops is not None for row in summary)
    return [
        {
            "arm": row.arm,
            "trials": str(row.error.trials),
            f"error{f', {metric.unit}' if metric.unit else ''}": interval(row.error.error) if row.error.error else "–",
            "change, %": _change(row),
            "Holm p": _p(row.comparison),
            **_size(row, units),
            **({"flops a step": "–" if row.flops is None else scaled(row.flops)} if flops else {}),
            "time": "–" if row.seconds is None else duration(row.seconds),
            "notes": "; ".join(row.flags),
        }
        for row in summary
    ]


def _size(row: Row, units: set[str]) -> dict[str, str]:
    """The cells that say how large an arm is: where arms are matched, in what, and by how much each misses it."""
    if not units:
        return {"parameters": _whole(row.parameters)}
    cells = {"live parameters": _whole(row.parameters_live)}
    if "components" in units:
        cells["components"] = _whole(row.components)
    if len(units) > 1:
        cells["matched in"] = row.match
    missed = row.match != "none" and row.residual is not None
    return cells | {"residual, %": _percent(row.residual or 0.0) if missed else "–"}


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(residual: float) -> str:
    text = f"{100 * residual:+.2f}".replace("-", "\N{MINUS SIGN}")
    return text if float(text.replace("\N{MINUS SIGN}", "-")) else "0.00"


def _change(row: Row) -> str:
    if row.comparison is None:
        return "baseline"
    return interval(row.comparison.change, signed=True) if row.comparison.change else "–"


def _p(comparison: Comparison | None) -> str:
    return "" if comparison is None or comparison.p_holm is None else p_value(comparison.p_holm)


def to_dict(tables: StudyTables) -> dict[str, Any]:
    """The summary as plain values that JSON can hold: study, metric, baseline, progress, and each arm's `Row`; the
    search's progress and `ArmSearched`, a sequential allocation's `Allocated`, and notes in sentences.

    Estimates hold value, low, high (95 %) and p; `change` is in percent of the baseline's error.
    """
    summary, searching = rows(tables), search_progress(tables)
    comparisons = [row.comparison for row in summary if row.comparison is not None]
    return {
        "study": tables.study.name,
        "metric": tables.study.metric,
        "baseline": tables.study.baseline,
        "progress": asdict(progress(tables)),
        "arms": [asdict(row) | {"flags": row.flags} for row in summary],
        "search": searching and {"progress": asdict(searching), "arms": [asdict(arm) for arm in search_rows(tables)]},
        "allocation": [asdict(arm) for arm in allocation(tables, comparisons)],
        "notes": notes(tables),
    }
