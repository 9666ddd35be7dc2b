"""The blocks that each arm was given, and why it was given no more.

The stopping rule is `tesseral.study.design.allocation.stopped`, which the driver asks too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, log1p

import polars as pl

from tesseral.analysis.statistics.paired import Comparison, paired_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.configuration.trial import State
from tesseral.study.design.allocation import Stopped, stopped


@dataclass(frozen=True)
class ArmAllocation:
    """The blocks of one arm in a sequential allocation."""

    arm: str
    blocks: int
    half_width: float | None
    """Half-width h of the 95 % interval of the paired change, percent: the interval reaches from change / (1 + h/100)
    to change · (1 + h/100), each as a ratio of errors. None for the baseline, and without an interval."""
    stopped: Stopped | None
    """Why the arm is given no more blocks; None for a baseline, and while more may follow."""


def blocks_given(tables: StudyTables) -> dict[str, int]:
    """Arm → its number of blocks: those planned, or more after a sequential allocation added some.

    An arm is given none if no trial of its search was completed, because there is no setting to confirm.
    """
    study = tables.study
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    started = dict(confirm.group_by("arm").agg(pl.col("block").max() + 1).iter_rows())
    refused = {arm for arm, best in tables.search.best.items() if best["trial"] is None}
    return {arm: 0 if arm in refused else max(study.blocks, started.get(arm, 0)) for arm in study.arms}


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
    study, base, blocks = tables.study, tables.study.baseline_of(arm), given[arm]
    if base is None or base == arm or not blocks:
        return None
    finished = [state.value for state in State if state.finished]
    ended = tables.trials.filter(
        pl.col("stage") == "confirm", pl.col("state").is_in(finished), pl.col("block") < blocks
    )
    due = min(blocks, given[base]) * study.replicates
    if any(ended.filter(pl.col("arm") == name).height < due for name in (arm, base)):
        return None  # the driver decides only after all trials of both arms have ended
    pairs = paired_errors(tables.trials, study.metric, arm, base)
    errors = pairs.select("block", "error", "error_baseline").iter_rows()
    return stopped(errors, blocks, study.blocks, study.most_blocks, study.precision or 0.0)


def _half_width(comparison: Comparison) -> float | None:
    change = comparison.change
    if change is None or change.low is None or change.high is None:
        return None
    return 100 * expm1((log1p(change.high / 100) - log1p(change.low / 100)) / 2)
