"""How far a study is: the trials of its two stages by state, the searches of each arm, and the blocks of each arm.

In a sequential allocation an arm gets blocks until `tesseral.study.design.allocation.stopped` says why it gets no more;
the driver asks the same function.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, log1p

import polars as pl

from tesseral.analysis.statistics.comparisons.paired import Comparison, paired_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import SearchSummary, arm_searches
from tesseral.study.configuration.trial import State
from tesseral.study.design.allocation import Stopped, stopped

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

    A search that has ended is as large as it was. Blocks of an arm whose search found nothing are not confirmed.

    :returns: the stages in order, `search` only for a study with a search; each with every arm, in order.
    """
    given = blocks_given(tables)
    due = {"confirm": {arm: _trained(tables, arm, blocks) * tables.study.replicates for arm, blocks in given.items()}}
    if of_arms := searches(tables):
        planned = {arm: sum(search.planned for search in of_arms if search.arm == arm) for arm in tables.study.arms}
        due = {"search": planned} | due
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


def searches(tables: StudyTables) -> tuple[SearchSummary, ...]:
    """The searches of every arm, in order; empty for a study without a search."""
    study, search = tables.study, tables.study.search
    if search is None:
        return ()
    budget, objective = search.trials, study.objectives[0]
    return tuple(arm_searches(tables.trials, tables.search, study.arms, budget, study.searches, objective))


@dataclass(frozen=True)
class ArmAllocation:
    """The blocks of one arm in a sequential allocation."""

    arm: str
    blocks: int
    half_width: float | None
    """Half-width h of the 95 % interval of the paired change for these data, percent: the interval reaches from
    change / (1 + h/100) to change · (1 + h/100), each as a ratio of errors. None for the baseline, and without an
    interval."""
    stopped: Stopped | None
    """Why the arm is given no more blocks; None for a baseline, and while more may follow."""


def blocks_given(tables: StudyTables) -> dict[str, int]:
    """Arm → its number of blocks: those planned, or more after a sequential allocation added some.

    A block whose search completed no trial is counted, although there is no setting to confirm in it. An arm is given
    none if that holds for all of its searches.
    """
    study, empty = tables.study, _empty(tables)
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    started = dict(confirm.group_by("arm").agg(pl.col("block").max() + 1).iter_rows())
    given = {}
    for arm in study.arms:
        given[arm] = max(study.blocks, started.get(arm, 0)) if _trained(tables, arm, study.blocks) else 0
        while 0 < given[arm] < study.most_blocks and (arm, given[arm] % max(study.searches, 1)) in empty:
            given[arm] += 1  # the driver passes over such a block, which leaves no record
    return given


def _empty(tables: StudyTables) -> set[tuple[str, int]]:
    """Arms and numbers of their searches in which no trial was completed."""
    return {search for search, best in tables.search.best.items() if best["trial"] is None}


def _trained(tables: StudyTables, arm: str, blocks: int) -> int:
    """How many of an arm's first `blocks` blocks have a setting to confirm, or may still get one."""
    empty, repeats = _empty(tables), max(tables.study.searches, 1)
    return sum((arm, block % repeats) not in empty for block in range(blocks))


def allocate(tables: StudyTables, comparisons: Sequence[Comparison]) -> tuple[ArmAllocation, ...]:
    """The blocks of every arm of a sequential allocation, in order; empty for a fixed allocation.

    :param comparisons: from `paired.compare_arms`, of all arms except the baselines.
    """
    study = tables.study
    if not study.sequential:
        return ()
    given = blocks_given(tables)
    half_widths = {comparison.arm: _half_width(comparison) for comparison in comparisons}
    return tuple(
        ArmAllocation(arm, given[arm], half_widths.get(arm), _stopped(tables, arm, given)) for arm in study.arms
    )


def _stopped(tables: StudyTables, arm: str, given: dict[str, int]) -> Stopped | None:
    """Why an arm is given no more blocks, as the driver decides it.

    :param given: from `blocks_given`.
    """
    study, base, blocks = tables.study, tables.study.baseline_of(arm), given[arm]
    if base is None or base == arm or not blocks:
        return None
    finished = [state.value for state in State if state.finished]
    ended = tables.trials.filter(
        pl.col("stage") == "confirm", pl.col("state").is_in(finished), pl.col("block") < blocks
    )
    common = min(blocks, given[base])
    due = {name: _trained(tables, name, common) * study.replicates for name in (arm, base)}
    if any(ended.filter(pl.col("arm") == name).height < trials for name, trials in due.items()):
        return None  # the driver decides only after all trials of both arms have ended
    pairs = paired_errors(tables.trials, study.metric, arm, base)
    errors = pairs.select("block", "error", "error_baseline").iter_rows()
    return stopped(errors, blocks, study.blocks, study.most_blocks, study.precision or 0.0)


def _half_width(comparison: Comparison) -> float | None:
    """Half-width of the interval of the log ratio, in which it is symmetric, as a change in percent."""
    change = comparison.change
    if change is None or change.here is None:
        return None
    return 100 * expm1((log1p(change.here.high / 100) - log1p(change.here.low / 100)) / 2)
