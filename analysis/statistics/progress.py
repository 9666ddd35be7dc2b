"""How far a study is: the trials of its two stages by state, and the search of each arm."""

from dataclasses import dataclass

import polars as pl

from tesseral.analysis.statistics.allocation import blocks_given
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import ArmSearched, searched
from tesseral.study.configuration.trial import State


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


def standing(tables: StudyTables) -> str:
    """Both stages in words; the search only where the study has one.

    Such as `6 of 6 trials complete · search: 11 of 11 trials ended, 3 of them early, 1 failed`.
    """
    confirm, search = progress(tables), search_progress(tables)
    text = f"{confirm.complete:,} of {confirm.planned:,} trials complete"
    text += f", {confirm.running:,} running" if confirm.running else ""
    text += f", {confirm.failed:,} failed" if confirm.failed else ""
    if search is None:
        return text
    text += f" · search: {search.ended:,} of {search.planned:,} trials ended"
    text += f", {search.pruned:,} of them early" if search.pruned else ""
    return text + (f", {search.failed:,} failed" if search.failed else "")
