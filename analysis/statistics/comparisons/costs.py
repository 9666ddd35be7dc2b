"""What an arm costs over another: ratios of training time, FLOPs, parameters and peak memory, in pairs.

An arm is *dearer* than another if its training time is shown to be longer: if the 95 % interval of the ratio lies above
one, or, where all pairs have one ratio, that ratio. Where the interval holds one, or no time is recorded, FLOPs decide,
else parameters; ratios of these within 1 %, the tolerance of matching, count as equal. An arm that is not shown to be
dearer may be so all the same. FLOPs are those of matrix products alone.
"""

from collections.abc import Mapping
from math import exp

import numpy as np
import polars as pl

from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.configuration.trial import State
from tesseral.study.design.match import LOOSE

COSTS = {"seconds": "time", "flops": "FLOPs", "parameters": "parameters", "peak_memory": "peak memory"}
"""Column of the trials table → its name in print."""

_DECIDING = ("seconds", "flops", "parameters")
"""The first of these that is recorded and differs says which arm is dearer."""

_EQUAL = 1e-12
"""Log ratios that differ by less are equal but for rounding."""


def cost_ratios(trials: pl.DataFrame, arm: str, other: str, sampling: Sampling) -> dict[str, Estimate]:
    """Cost → its ratio between two arms, the geometric mean over the pairs of trials that both completed.

    :param trials: the trials table.
    :param arm: the arm whose costs are divided by those of `other`.
    :param sampling: of the study.
    :returns: for each of `COSTS` that is recorded. Where the ratio varies, `here` is its 95 % interval over blocks, or
        over searches where arms are tuned, because the setting that a search chose has a cost of its own (for the
        settings found, with fewer than three). Costs are no property of the structures, so there is none for new data.
    """
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    ratios = {}
    for name in COSTS:
        known = complete.filter(pl.col(name) > 0)
        measured = known.select("arm", "block", "replicate", cost=pl.col(name).cast(pl.Float64))
        above, below = (measured.filter(pl.col("arm") == label).drop("arm") for label in (arm, other))
        pairs = above.join(below, on=["block", "replicate"], suffix="_other").sort("block", "replicate")
        if not pairs.height:
            continue
        logs = (pairs["cost"] / pairs["cost_other"]).log().to_numpy()
        if np.ptp(logs) < _EQUAL:
            ratios[name] = Estimate(exp(logs[0]))
        else:
            ratio = Sampling(sampling.blocks, sampling.searches).estimate(pairs, logs).transformed(exp)
            ratios[name] = Estimate(ratio.value, here=ratio.here)
    return ratios


def deciding_costs(ratios: Mapping[str, Estimate]) -> tuple[str, ...]:
    """The costs that say whether an arm is dearer: those recorded, up to the first one that differs.

    :param ratios: from `cost_ratios`.
    """
    recorded = [name for name in _DECIDING if name in ratios]
    last = next((place for place, name in enumerate(recorded) if _differs(name, ratios[name])), 0)
    return tuple(recorded[: last + 1])


def is_dearer(ratios: Mapping[str, Estimate]) -> bool:
    """Whether the arm is shown to cost more than the other.

    :param ratios: from `cost_ratios`.
    """
    costs = deciding_costs(ratios)
    return bool(costs) and _differs(costs[-1], ratios[costs[-1]]) and ratios[costs[-1]].value > 1


def _differs(name: str, ratio: Estimate) -> bool:
    """Whether a cost is shown to be another than that of the other arm."""
    low, high = (ratio.here.low, ratio.here.high) if ratio.here else (ratio.value, ratio.value)
    equal = 0.0 if name == "seconds" else LOOSE
    return low > 1 + equal or high < 1 / (1 + equal)
