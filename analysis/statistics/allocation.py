"""The blocks that each arm was given, and why it was given no more: see `tesseral.study.design.allocation`."""

from dataclasses import dataclass
from math import expm1, log1p
from typing import Literal

import polars as pl

from tesseral.analysis.statistics.paired import Comparison, trial_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.configuration.trial import State
from tesseral.study.design.allocation import precise

Stopped = Literal["precision", "most blocks"]


@dataclass(frozen=True)
class Allocated:
    """What one arm was given."""

    arm: str
    blocks: int
    half_width: float | None
    """h of the 95 % interval of the paired change, percent: it reaches from the change divided by 1 + h/100 to the
    change times it. None for the baseline and without an interval."""
    stopped: Stopped | None
    """Why it is given no more blocks; None for a baseline, and where more may follow."""


def blocks_given(tables: StudyTables) -> dict[str, int]:
    """Arm → its blocks: those planned, or more that a sequential allocation has added. None for an arm that is not
    confirmed, because no trial of its search was completed."""
    study = tables.study
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    seen = dict(confirm.group_by("arm").agg(pl.col("block").max() + 1).iter_rows())
    refused = {arm for arm, best in tables.search.best.items() if best["trial"] is None}
    return {arm: 0 if arm in refused else max(study.blocks, seen.get(arm, 0)) for arm in study.arms}


def allocation(tables: StudyTables, comparisons: list[Comparison]) -> list[Allocated]:
    """The blocks of every arm of a sequential allocation, in order; empty where the allocation is fixed.

    :param comparisons: of `paired.compare_arms`, of all arms but the baseline.
    """
    study = tables.study
    if not study.sequential:
        return []
    given, by_name = blocks_given(tables), {comparison.arm: comparison for comparison in comparisons}
    over = [state.value for state in State if state.finished]
    of_confirm = pl.col("stage") == "confirm", pl.col("state").is_in(over)
    places = tables.trials.filter(*of_confirm).select("arm", "block")
    found = []
    for arm in study.arms:
        blocks, half, base = given[arm], _half_width(by_name.get(arm)), study.baseline_of(arm)
        stopped: Stopped | None = None
        due = min(blocks, given[base]) * study.replicates if base else 0
        ended = [places.filter(pl.col("arm") == name, pl.col("block") < blocks).height for name in (arm, base)]
        if base not in (arm, None) and blocks and min(ended) >= due:
            if precise(_log_ratios(tables, arm), study.blocks, study.precision or 0.0):
                stopped = "precision"
            elif blocks >= study.most_blocks:
                stopped = "most blocks"
        found.append(Allocated(arm, blocks, half, stopped))
    return found


def _half_width(comparison: Comparison | None) -> float | None:
    change = comparison.change if comparison else None
    if change is None or change.low is None or change.high is None:
        return None
    return 100 * expm1((log1p(change.high / 100) - log1p(change.low / 100)) / 2)


def _log_ratios(tables: StudyTables, arm: str) -> list[float]:
    """Of the errors of an arm and the baseline, the mean of each block."""
    found = trial_errors(tables.trials, tables.study.metric).filter(pl.col("error") > 0)
    ours, theirs = (found.filter(pl.col("arm") == name) for name in (arm, tables.study.baseline_of(arm)))
    pairs = ours.join(theirs, on=["block", "replicate"], suffix="_baseline")
    ratio = (pl.col("error") / pl.col("error_baseline")).log().mean()
    return pairs.group_by("block").agg(ratio).sort("block")["error"].to_list()
