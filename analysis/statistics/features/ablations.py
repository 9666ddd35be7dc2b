"""Rise of the error when the features of one order l in one layer are removed from trained networks.

Each network is compared with itself, so errors are paired, as those of arms are: the statistic is the logarithm of the
ratio of both errors, averaged within blocks if three or more are planned (`paired`). An ablation raises the error
significantly if its p-value is below 0.05 after Holm's correction over all ablations of all arms. The one that raises
it most stands out if its paired differences from all others are significant after Holm's correction over all pairs of
places of all arms: it is chosen by its rise, so a correction over its own pairs would name one of several equal places.
"""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.paired import holm, relative_change
from tesseral.analysis.statistics.features.layers import ABLATIONS
from tesseral.analysis.terms.estimate import SIGNIFICANCE
from tesseral.analysis.terms.sampling import Sampling

_PLACE = ["layer", "l"]


class Place(NamedTuple):
    """The features of one order in one layer, of both parities."""

    layer: int
    l: int  # noqa: E741 - the column's name

    def __str__(self) -> str:
        return f"l = {self.l} in layer {self.layer}"


class Needs(NamedTuple):
    """The ablations of an arm that raise the error most, and those that do not raise it significantly."""

    most: tuple[Place, ...]
    """The place whose ablation raises the error most, followed by those whose rise does not differ significantly from
    it; empty if no ablation raises the error significantly, or with too few units for an interval."""
    unseen: tuple[Place, ...]
    """Places whose ablation does not raise the error significantly; empty with too few units for an interval."""


def ablations(rows: pl.DataFrame, sampling: Sampling) -> pl.DataFrame:
    """Errors of each ablation, over the trials of an arm.

    :param rows: from `layers.layer_traces`. Trials in which one of both errors is not positive are left out.
    :param sampling: of the study.
    :returns: arm, layer, l, kind (zero or shuffle), error and intact (geometric means over trials, with and without the
        ablation), rise, low, high (of error over intact, percent; bounds are those of `Estimate.shown`, null with too
        few units), sorted.
    """
    ablated = []
    for (arm, kind, layer, order), part in _logs(rows).partition_by("arm", "kind", *_PLACE, as_dict=True).items():
        rise = relative_change(part, (part["error"] - part["intact"]).to_numpy(), sampling, part["arm"][0])
        means = [float(np.exp(part[name].to_numpy().mean())) for name in ("error", "intact")]
        ablated.append((arm, layer, order, kind, *means, rise.value, *rise.shown))
    numbers = dict.fromkeys(("error", "intact", "rise", "low", "high"), pl.Float64)
    kinds = {"arm": pl.String, "layer": pl.Int64, "l": pl.Int64, "kind": pl.String, **numbers}
    frame = pl.DataFrame(ablated, schema=kinds, orient="row")
    # Descending kinds put `zero` before `shuffle`.
    return frame.sort("arm", "layer", "l", "kind", descending=[False, False, False, True])


def needs(rows: pl.DataFrame, arms: Sequence[str], sampling: Sampling) -> dict[str, Needs]:
    """Which ablations by zeros raise the error of each arm significantly, and which raise it most.

    :param rows: from `layers.layer_traces`.
    :param arms: those with ablations.
    :param sampling: of the study.
    """
    zeroed = _logs(rows).filter(pl.col("kind") == "zero").partition_by("arm", *_PLACE, as_dict=True)
    places = {(arm, Place(layer, order)): part for (arm, layer, order), part in sorted(zeroed.items())}
    rises = {
        key: relative_change(part, (part["error"] - part["intact"]).to_numpy(), sampling, key[0])
        for key, part in places.items()
    }
    raised = dict(zip(rises, holm([1.0 if rise.p is None else rise.p for rise in rises.values()]), strict=True))
    unseen = {key for key, rise in rises.items() if raised[key] >= SIGNIFICANCE or rise.value <= 0}
    by_rise = {
        arm: sorted((place for of_arm, place in rises if of_arm == arm), key=lambda place: -rises[arm, place].value)
        for arm in arms
    }
    certain = {arm: all(rises[arm, place].low is not None for place in by_rise[arm]) for arm in arms}
    first = {arm: ordered[0] for arm, ordered in by_rise.items() if certain[arm] and (arm, ordered[0]) not in unseen}
    # Two intervals may overlap although the errors differ in every pair, so places are compared in pairs. The first is
    # chosen by its rise, so the correction is over all pairs of places; those that are not tested count as equal.
    tested = {
        (arm, other): _difference(places[arm, place], places[arm, other], sampling)
        for arm, place in first.items()
        for other in by_rise[arm][1:]
    }
    untested = sum(comb(len(ordered), 2) for ordered in by_rise.values()) - len(tested)
    corrected = holm([*tested.values(), *[1.0] * untested])
    differs = {key for key, p in zip(tested, corrected, strict=False) if p < SIGNIFICANCE}
    needed = {}
    for arm in arms:
        most = [other for other in by_rise[arm] if arm in first and (arm, other) not in differs]
        low = [place for of_arm, place in rises if of_arm == arm and (arm, place) in unseen and certain[arm]]
        needed[arm] = Needs(tuple(most), tuple(low))
    return needed


def _difference(part: pl.DataFrame, other: pl.DataFrame, sampling: Sampling) -> float:
    """p-value of equal errors in the trials that both ablations have; 1 with too few units."""
    pairs = part.join(other.select("trial", another="error"), on="trial").sort("trial")
    if not pairs.height:
        return 1.0
    p = relative_change(pairs, (pairs["error"] - pairs["another"]).to_numpy(), sampling, pairs["arm"][0]).p
    return 1.0 if p is None else p


def _logs(rows: pl.DataFrame) -> pl.DataFrame:
    """arm, trial, block, layer, l, kind, and the logarithms of error and intact."""
    errors = rows.filter(pl.col("statistic").is_in(ABLATIONS), pl.col("value") > 0)
    errors = errors.with_columns(error=pl.col("value").log())
    intact = errors.filter(pl.col("statistic") == "ablation_none").select("trial", intact="error")
    return (
        errors.filter(pl.col("statistic") != "ablation_none")
        .join(intact, on="trial")
        .select(
            *("arm", "trial", "block", *_PLACE),
            pl.col("statistic").str.strip_prefix("ablation_").alias("kind"),
            "error",
            "intact",
        )
        .sort("arm", "trial", *_PLACE, "kind")
    )
