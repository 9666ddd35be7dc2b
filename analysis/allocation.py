"""How many blocks each arm was given, and why no more: a sequential allocation looks at an interval's width alone."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from tesseral.analysis.load import StudyTables
from tesseral.analysis.statistics import Comparison
from tesseral.study.trial import State

Stopped = Literal["precision", "most blocks"]


@dataclass(frozen=True)
class Allocated:
    """What one arm was given."""

    arm: str
    blocks: int
    half_width: float | None
    """Of the 95 % interval of the paired change, percent; None for the baseline and without an interval."""
    stopped: Stopped | None
    """Why it is given no more blocks; None for the baseline, and where more may follow."""


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

    :param comparisons: of `statistics.against`, of all arms but the baseline.
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
        blocks, half = given[arm], _half_width(by_name.get(arm))
        due = min(blocks, given[study.baseline]) * study.replicates
        ended = [
            places.filter(pl.col("arm") == name, pl.col("block") < blocks).height for name in (arm, study.baseline)
        ]
        stopped: Stopped | None = None
        if arm != study.baseline and blocks and min(ended) >= due:
            if half is not None and half <= (study.precision or 0.0):
                stopped = "precision"
            elif blocks >= study.most_blocks:
                stopped = "most blocks"
        found.append(Allocated(arm, blocks, half, stopped))
    return found


def _half_width(comparison: Comparison | None) -> float | None:
    change = comparison.change if comparison else None
    if change is None or change.low is None or change.high is None:
        return None
    return (change.high - change.low) / 2
