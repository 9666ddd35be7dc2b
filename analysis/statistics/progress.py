"""How far a study is: the trials of its two stages by state, and the search of each arm."""

from collections import Counter
from dataclasses import dataclass

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


StateCounts = dict[str, dict[str, Counter[State]]]
"""Stage → arm → number of trials in each state."""


def state_counts(tables: StudyTables) -> StateCounts:
    """Counts of all trials of a study, those that are due and not yet recorded among the planned ones.

    A search that has ended is as large as it was, and an arm for which it found nothing is not confirmed.

    :return: the stages in order, `search` only where the study has one; each with every arm, in order.
    """
    due = {"confirm": {arm: blocks * tables.study.replicates for arm, blocks in blocks_given(tables).items()}}
    if searches := search_rows(tables):
        due = {"search": {search.arm: search.planned for search in searches}} | due
    counts: StateCounts = {stage: {arm: Counter() for arm in arms} for stage, arms in due.items()}
    for stage, arm, state, trials in tables.trials.group_by("stage", "arm", "state").len().iter_rows():
        if arm in counts.get(stage, {}):
            counts[stage][arm][State(state)] = trials
    for stage, arms in due.items():
        for arm, trials in arms.items():
            missing = trials - counts[stage][arm].total()
            counts[stage][arm][State.PLANNED] += max(missing, 0)
    return {stage: {arm: +states for arm, states in arms.items()} for stage, arms in counts.items()}


def progress(tables: StudyTables) -> Progress:
    """Counts of the confirm stage's trials by state."""
    return _summed(state_counts(tables)["confirm"])


def _summed(arms: dict[str, Counter[State]]) -> Progress:
    total: Counter[State] = sum(arms.values(), Counter())
    states = (State.COMPLETE, State.PRUNED, State.FAILED, State.RUNNING)
    return Progress(total.total(), *(total[state] for state in states))


def search_rows(tables: StudyTables) -> list[ArmSearched]:
    """The search of every arm, in order; empty for a study without a search."""
    study = tables.study
    if study.search is None:
        return []
    return searched(tables.trials, tables.search, study.arms, study.search.trials, study.objectives[0])


def search_progress(tables: StudyTables) -> Progress | None:
    """Counts of the search's trials by state; None for a study without a search."""
    counts = state_counts(tables)
    return _summed(counts["search"]) if "search" in counts else None


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
