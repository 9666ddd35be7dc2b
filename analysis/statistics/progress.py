"""How far a study is: the trials of its two stages by state, and the search of each arm."""

from collections import Counter
from dataclasses import dataclass

from tesseral.analysis.statistics.allocation import blocks_given
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import ArmSearch, arm_searches
from tesseral.study.configuration.trial import State

StateCounts = dict[str, dict[str, Counter[State]]]
"""Stage → arm → number of trials in each state."""


@dataclass(frozen=True)
class Progress:
    """Trials of one stage by state."""

    planned: int
    """All trials that are known to be due, whatever their state."""
    complete: int
    pruned: int
    """Stopped early, in the search."""
    failed: int
    running: int

    @property
    def ended(self) -> int:
        """Trials that have reached a final state."""
        return self.complete + self.pruned + self.failed

    @property
    def unfinished(self) -> int:
        """Trials that have not reached a final state."""
        return self.planned - self.ended


def state_counts(tables: StudyTables) -> StateCounts:
    """Trials of a study by stage, arm and state; trials that are due and not recorded yet count as planned.

    A search that has ended is as large as it was. An arm whose search found nothing is not confirmed.

    :return: the stages in order, `search` only for a study with a search; each with every arm, in order.
    """
    due = {"confirm": {arm: blocks * tables.study.replicates for arm, blocks in blocks_given(tables).items()}}
    if of_arms := searches(tables):
        due = {"search": {search.arm: search.planned for search in of_arms}} | due
    counts: StateCounts = {stage: {arm: Counter() for arm in arms} for stage, arms in due.items()}
    for stage, arm, state, trials in tables.trials.group_by("stage", "arm", "state").len().iter_rows():
        if arm in counts.get(stage, {}):
            counts[stage][arm][State(state)] = trials
    for stage, arms in due.items():
        for arm, trials in arms.items():
            missing = trials - counts[stage][arm].total()
            counts[stage][arm][State.PLANNED] += max(missing, 0)
    return {stage: {arm: +states for arm, states in arms.items()} for stage, arms in counts.items()}


def stage_progress(tables: StudyTables) -> dict[str, Progress]:
    """Stage → its progress, summed over the arms of `state_counts`."""
    return {stage: _progress(sum(arms.values(), Counter())) for stage, arms in state_counts(tables).items()}


def _progress(states: Counter[State]) -> Progress:
    shown = (State.COMPLETE, State.PRUNED, State.FAILED, State.RUNNING)
    return Progress(states.total(), *(states[state] for state in shown))


def searches(tables: StudyTables) -> tuple[ArmSearch, ...]:
    """The search of every arm, in order; empty for a study without a search."""
    study = tables.study
    if study.search is None:
        return ()
    return tuple(arm_searches(tables.trials, tables.search, study.arms, study.search.trials, study.objectives[0]))
