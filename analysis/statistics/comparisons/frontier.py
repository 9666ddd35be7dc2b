"""The frontier of error against cost: arms that no other arm of their group beats in both.

An arm is on the frontier if no other arm has an error and a cost that are at most its own, one of them lower. Errors
and costs are geometric means over the blocks and replicates that all arms completed, or interquartile means of the
logarithms where the study's aggregate is that. FLOPs and parameters within 1 % of
one another, the tolerance of matching, count as equal: what matching left over says nothing of an arm.

How surely an arm is on it, for these data, is the share of bootstrap draws in which it is: units (blocks or searches,
`Sampling`) are drawn with replacement, the same ones for all arms, because arms share blocks.

Sources: Efron, Ann. Stat. 7, 1 (1979), on the bootstrap. FLOPs are those of matrix products alone.
"""

from math import log1p

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.best import common_errors
from tesseral.analysis.statistics.comparisons.paired import trial_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import FEWEST_UNITS, aggregated
from tesseral.study.design.match import LOOSE

_EQUAL = 1e-9
"""Logarithms of times that differ by less are equal but for rounding."""

DRAWS = 2000
"""Number of bootstrap draws."""

AGAINST = ("seconds", "flops", "parameters")
"""Costs, columns of the trials table, against which there is a frontier."""

_SCHEMA = {
    "cost": pl.String,
    "arm": pl.String,
    "error": pl.Float64,
    "value": pl.Float64,
    "front": pl.Boolean,
    "share": pl.Float64,
}


def frontier(tables: StudyTables, generator: np.random.Generator) -> pl.DataFrame:
    """The frontier of every group, against each cost that all of its arms have.

    :param generator: draws the units.
    :returns: cost (of `AGAINST`), arm, error (in the metric's unit), value (of the cost: s, FLOPs per step, or number),
        front (whether the arm is on the frontier), share (of draws in which it is; null with too few units).
    :raises TesseralError: if the study's metric is not recorded.
    """
    study = tables.study
    errors = trial_errors(tables.trials, study.metric).filter(pl.col("error") > 0)
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    rows: list[tuple[object, ...]] = []
    for members in study.groups.values():
        shared = common_errors(errors, members, study.sampling)
        if shared is None:
            continue
        arms, trials = shared
        for cost in AGAINST:
            measured = trials.join(confirm.select("trial", "arm", cost=pl.col(cost)), on=["trial", "arm"])
            if measured["cost"].null_count() or not (measured["cost"] > 0).all():
                continue
            parts = {arm: measured.filter(pl.col("arm") == arm) for arm in arms}
            logs = np.array(
                [
                    [study.sampling.units(part, part[name].log().to_numpy()) for part in (parts[arm] for arm in arms)]
                    for name in ("error", "cost")
                ]
            )
            means = aggregated(logs, study.aggregate)[..., None]
            equal = _EQUAL if cost == "seconds" else log1p(LOOSE)
            of_errors, of_costs = means
            front = on_frontier(of_errors, of_costs, equal)[:, 0]
            share: list[float | None] = [None] * len(arms)
            if logs.shape[2] >= FEWEST_UNITS:
                drawn = generator.integers(logs.shape[2], size=(DRAWS, logs.shape[2]))
                of_errors, of_costs = aggregated(logs[:, :, drawn], study.aggregate)
                share = on_frontier(of_errors, of_costs, equal).mean(axis=1).tolist()
            values = np.exp(means[..., 0])
            rows += [(cost, arm, *values[:, i].tolist(), bool(front[i]), share[i]) for i, arm in enumerate(arms)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def on_frontier(errors: np.ndarray, costs: np.ndarray, equal: float = 0.0) -> np.ndarray:
    """Whether no other arm is at least as good in both and better in one.

    :param errors: of shape (arms, draws).
    :param costs: of shape (arms, draws).
    :param equal: costs that differ by no more than this are equal.
    :returns: of shape (arms, draws).
    """
    kept = np.empty(errors.shape, dtype=bool)
    for i, (error, cost) in enumerate(zip(errors, costs, strict=True)):
        beaten = (errors <= error) & (costs <= cost + equal) & ((errors < error) | (costs < cost - equal))
        kept[i] = ~beaten.any(axis=0)
    return kept
