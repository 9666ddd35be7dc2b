"""What trained networks lose when the features of one order l in one layer are taken away, with 95 % intervals.

Each trained network stands beside itself, so errors are compared in pairs, as those of arms are: the logarithm of the
ratio of both errors, over blocks where three or more are planned (`statistics`). Which order is needed most is told
only where its pairs with all others say so, corrected after Holm over these; and that one is needed at all, over all.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from tesseral.analysis.statistics.layers import ABLATIONS
from tesseral.analysis.statistics.paired import holm, relative_change
from tesseral.analysis.terms.estimate import SIGNIFICANCE

_PLACE = ["layer", "l"]


class Place(NamedTuple):
    """The features of one order in one layer, of both parities."""

    layer: int
    l: int  # noqa: E741 - the column's name

    def __str__(self) -> str:
        return f"l = {self.l} in layer {self.layer}"


class Needs(NamedTuple):
    """What the trained networks of an arm cannot do without."""

    most: tuple[Place, ...]
    """The place whose loss raises the error most, first, and those that cannot be told apart from it; empty where no
    place raises the error, or where there are too few units for an interval."""
    unseen: tuple[Place, ...]
    """Places without which no rise of the error can be told from none, after Holm over all places; empty where there
    are too few units."""


def ablations(rows: pl.DataFrame, blocks: int) -> pl.DataFrame:
    """Errors with the features of one order in one layer taken away, over the trials of an arm.

    :param rows: of `layers.layer_traces`. Trials where one of both errors is not positive are left out.
    :param blocks: planned ones, which decide the unit.
    :returns: arm, layer, l, kind (zero or shuffle), error and intact (geometric means over trials; that of the same
        networks as they are), rise, low, high (of error over intact, percent; null bounds with too few units), sorted.
    """
    found = []
    for (arm, kind, layer, order), part in _logs(rows).partition_by("arm", "kind", *_PLACE, as_dict=True).items():
        rise = relative_change(part, (part["error"] - part["intact"]).to_numpy(), blocks)
        means = [float(np.exp(part[name].to_numpy().mean())) for name in ("error", "intact")]
        found.append((arm, layer, order, kind, *means, rise.value, rise.low, rise.high))
    numbers = dict.fromkeys(("error", "intact", "rise", "low", "high"), pl.Float64)
    kinds = {"arm": pl.String, "layer": pl.Int64, "l": pl.Int64, "kind": pl.String, **numbers}
    frame = pl.DataFrame(found, schema=kinds, orient="row")
    return frame.sort("arm", "layer", "l", "kind", descending=[False, False, False, True])


def needs(rows: pl.DataFrame, blocks: int) -> Needs:
    """Which orders an arm needs, of features set to zero.

    :param rows: of `layers.layer_traces`, of this arm alone.
    :param blocks: planned ones, which decide the unit.
    """
    zeroed = _logs(rows).filter(pl.col("kind") == "zero")
    parts = {Place(*key): part for key, part in sorted(zeroed.partition_by(_PLACE, as_dict=True).items())}
    rises = {
        place: relative_change(part, (part["error"] - part["intact"]).to_numpy(), blocks)
        for place, part in parts.items()
    }
    if any(rise.low is None for rise in rises.values()):
        return Needs((), ())
    raised = holm([1.0 if rise.p is None else rise.p for rise in rises.values()])
    unseen = tuple(
        place for (place, rise), p in zip(rises.items(), raised, strict=True) if p >= SIGNIFICANCE or rise.value <= 0
    )
    order = sorted(rises, key=lambda place: -rises[place].value)
    if not order or order[0] in unseen:
        return Needs((), unseen)
    first, *others = order
    p_values = [_difference(parts[first], parts[other], blocks) for other in others]
    alike = [other for other, p in zip(others, holm(p_values), strict=True) if p >= SIGNIFICANCE]
    return Needs((first, *alike), unseen)


def _difference(part: pl.DataFrame, other: pl.DataFrame, blocks: int) -> float:
    """The p-value of no difference between the errors of the trials that both have; 1 with too few units."""
    pairs = part.join(other.select("trial", another="error"), on="trial").sort("trial")
    if not pairs.height:
        return 1.0
    p = relative_change(pairs, (pairs["error"] - pairs["another"]).to_numpy(), blocks).p
    return 1.0 if p is None else p


def _logs(rows: pl.DataFrame) -> pl.DataFrame:
    """arm, trial, block, layer, l, kind, and the logarithms of error and intact."""
    found = rows.filter(pl.col("statistic").is_in(ABLATIONS), pl.col("value") > 0)
    found = found.with_columns(error=pl.col("value").log())
    intact = found.filter(pl.col("statistic") == "ablation_none").select("trial", intact="error")
    return (
        found.filter(pl.col("statistic") != "ablation_none")
        .join(intact, on="trial")
        .select(
            *("arm", "trial", "block", *_PLACE),
            pl.col("statistic").str.strip_prefix("ablation_").alias("kind"),
            "error",
            "intact",
        )
        .sort("arm", "trial", *_PLACE, "kind")
    )
