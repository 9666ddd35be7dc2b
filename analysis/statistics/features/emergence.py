"""When each order l of the hidden features takes its place, and how order, time and size go together.

Let x_l(e) be the share of order l in the squared norm of a layer of one trial at epoch e, and E its last traced epoch.

- The order has *taken its place* at the first traced epoch from which on x_l(e) ≥ x_l(E) / 2. An order that begins
  above that has taken its place at the first traced epoch.
- The *hierarchy* is exp(b), dimensionless, with b the least-squares slope of log x_l(E) against l: by which factor the
  share changes from one order to the next.
- Kendall's rank correlation τ_b (Biometrika 33, 239, 1945), −1 to 1, of l with the epoch at which the order has taken
  its place, and of l with x_l(E). It needs three orders; it is undefined where all epochs are equal.

Each is computed for each trial and layer, and averaged over the units of the design with intervals for new data
(`tesseral.analysis.terms.sampling`); hierarchies as logarithms. Orders whose last share is zero are left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
import polars as pl

from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling

_LOSS = "loss.name"
_FEWEST_ORDERS = 3
_SERIES = ["arm", "trial", "layer"]


@dataclass(frozen=True)
class Hierarchy:
    """How order, time and size go together in one layer of an arm, or how this differs between two arms."""

    arm: str
    layer: int
    trials: int
    """Trials that have the hierarchy, or pairs of trials."""
    factor: Estimate
    """Share of an order over that of the order before; between two arms, the ratio of their factors."""
    with_epoch: Estimate | None
    """τ_b of l with the epoch at which the order has taken its place; between two arms, the difference."""
    with_share: Estimate | None
    """τ_b of l with the last share; between two arms, the difference."""
    against: str | None = None
    """The other arm, which differs in its loss alone; None for one arm by itself."""


def places_taken(per_trial: pl.DataFrame) -> pl.DataFrame:
    """The epoch at which each order has taken its place, and its last share.

    :param per_trial: from `features.hidden_features`.
    :returns: arm, trial, layer, l, share, epoch, sorted; without orders whose last share is zero.
    """
    last = pl.col("share").get(pl.col("epoch").arg_max())
    below = pl.col("epoch").filter(pl.col("share") < last / 2).max().fill_null(-1)
    return (
        per_trial.lazy()
        .group_by(*_SERIES, "l")
        .agg(last=last, epoch=pl.col("epoch").filter(pl.col("epoch") > below).min())
        .filter(pl.col("last") > 0)
        .rename({"last": "share"})
        .sort(*_SERIES, "l")
        .collect()
    )


def places_by_order(taken: pl.DataFrame) -> pl.DataFrame:
    """The epochs of each order over the trials of an arm.

    :param taken: from `places_taken`.
    :returns: arm, layer, l, epoch (median over trials), earliest, latest, sorted.
    """
    epoch = pl.col("epoch")
    return (
        taken.group_by("arm", "layer", "l")
        .agg(epoch.median(), earliest=epoch.min(), latest=epoch.max())
        .sort("arm", "layer", "l")
    )


def hierarchies(taken: pl.DataFrame, trials: pl.DataFrame, study: StudyInfo) -> tuple[Hierarchy, ...]:
    """The hierarchy of each arm and layer, and of arms that differ in their loss alone, paired with the first of them.

    :param taken: from `places_taken`.
    :param trials: the trials table.
    :returns: arms in the study's order, layers ascending; after an arm's own, its difference from another loss.
    """
    values = _of_trials(taken).join(trials.select("arm", "trial", "block", "replicate"), on=["arm", "trial"])
    arms = values.partition_by("arm", as_dict=True)
    made: list[Hierarchy] = []
    for arm in study.arms:
        rows = arms.get((arm,), values.clear())
        made += _layers(rows, arm, None, study.sampling)
        other = _other_loss(study, arm)
        if other is not None and (other,) in arms:
            pairs = rows.join(arms[other,], on=["layer", "block", "replicate"], suffix="_other")
            differences = [(pl.col(name) - pl.col(f"{name}_other")).alias(name) for name in _VALUES]
            made += _layers(pairs.with_columns(differences), arm, other, study.sampling)
    return tuple(made)


_VALUES = ("slope", "with_epoch", "with_share")


def _of_trials(taken: pl.DataFrame) -> pl.DataFrame:
    """arm, trial, layer and the three values of each, of those with two orders or more; null where undefined."""
    log, order = pl.col("share").log(), pl.col("l").cast(pl.Float64)
    slopes = (
        taken.group_by(_SERIES, maintain_order=True)
        .agg(slope=pl.cov(order, log) / order.var(), orders=pl.len())
        .filter(pl.col("orders") > 1)
    )
    # Of each pair of orders, the second is the higher one; no two are equal.
    pairs = taken.join(taken, on=_SERIES, suffix="_higher").filter(pl.col("l") < pl.col("l_higher"))
    signs = [(pl.col(f"{name}_higher") - pl.col(name)).sign() for name in ("epoch", "share")]
    untied = [(sign != 0).sum() for sign in signs]
    taus = [
        pl.when(few > 0).then(sign.sum() / (few * pl.len()).sqrt()).alias(f"with_{name}")
        for name, sign, few in zip(("epoch", "share"), signs, untied, strict=True)
    ]
    ranks = pairs.group_by(_SERIES).agg(*taus)
    known = [pl.when(pl.col("orders") >= _FEWEST_ORDERS).then(name).alias(name) for name in _VALUES[1:]]
    return (
        slopes.join(ranks, on=_SERIES, how="left", maintain_order="left")
        .with_columns(known)
        .select(pl.col("arm", "trial").cast(pl.String), pl.col("layer").cast(pl.Int64), *_VALUES)
    )


def _layers(rows: pl.DataFrame, arm: str, against: str | None, sampling: Sampling) -> Iterator[Hierarchy]:
    arms = [name for name in (arm, against) if name is not None]
    reach = 1.0 if against is None else 2.0  # τ ends at ±1, so a difference ends at ±2

    def mean(part: pl.DataFrame, name: str, function: Callable[[float], float]) -> Estimate | None:
        known = part.drop_nulls(name)
        if not known.height:
            return None
        values = known[name].to_numpy()
        if name != "slope" and np.ptp(values) == 0:  # ranks without any scatter tell nothing about their spread
            return Estimate(float(values[0]))
        return sampling.estimate(known, values, *arms).transformed(function)

    for (layer,), part in rows.sort("layer", "block", "replicate").group_by(["layer"], maintain_order=True):
        factor = mean(part, "slope", exp)
        if factor is not None and isfinite(factor.value):
            epoch, share = (mean(part, name, lambda tau: min(max(tau, -reach), reach)) for name in _VALUES[1:])
            yield Hierarchy(arm, int(layer), part.height, factor, epoch, share, against)


def _other_loss(study: StudyInfo, arm: str) -> str | None:
    """The first arm that differs from an arm in its loss alone; None if that is the arm itself, or without losses."""

    def rest(name: str) -> dict[str, str]:
        return {path: level for path, level in study.levels.get(name, {}).items() if path != _LOSS}

    if _LOSS not in study.levels.get(arm, {}):
        return None
    first = next(name for name in study.arms if _LOSS in study.levels.get(name, {}) and rest(name) == rest(arm))
    return None if first == arm else first
