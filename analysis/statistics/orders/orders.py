"""Errors by order l of the target: one estimate for each arm and order, and the tables that a report shows.

Where an arm cannot reach an order, its error of all orders holds that order, predicted as zero. So the errors of the
orders that all arms reach are composed beside it, trial by trial:

- Σ ε_l for the parts of a density, percent of the electrons. The ε of these orders together is not recorded and does
  not follow from the parts: it is at most this sum, because |Σ Δρ_l| ≤ Σ |Δρ_l| at each point.
- √(mean of x_l²) for shares x_l of a spread or a norm, percent. Each order has the same weight, because the records do
  not hold the orders' spreads.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Literal

import polars as pl

from tesseral.analysis.statistics.comparisons.paired import ArmError, Comparison, arm_errors, compare_arms
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.configuration.metrics import METRICS

_IRREP_ORDER = re.compile(r"\d+(?=[eo])")


def recorded_orders(trials: pl.DataFrame, metric: str) -> list[int]:
    """Orders l for which a metric is recorded, in columns such as `metric.test.block_error.l2`, ascending."""
    pattern = re.compile(re.escape(f"metric.{metric}.l") + r"(\d+)")
    return sorted(int(match[1]) for name in trials.columns if (match := pattern.fullmatch(name)))


def unreachable_orders(trials: pl.DataFrame) -> set[int]:
    """Orders l in the column `unreachable` of one arm's trials, which holds irreps such as `1x4e`."""
    return {int(order) for text in trials["unreachable"].drop_nulls() for order in _IRREP_ORDER.findall(text)}


def output_errors(trials: pl.DataFrame, metric: str, arms: Sequence[str], sampling: Sampling) -> pl.DataFrame:
    """The error of each arm for each order of the target, with its 95 % interval; see `paired.arm_errors`.

    :param metric: such as `test.block_error`, recorded by order as `metric.test.block_error.l0`, `….l1`, ….
    :param sampling: of the study.
    :returns: arm, l, reachable, trials, error, low, high; in the order of `arms`, without the orders for which an arm
        has no error. The error is in the metric's unit; bounds are those of `Estimate.shown`.
    """
    orders = recorded_orders(trials, metric)
    confirm = trials.filter(pl.col("stage") == "confirm")
    unreachable = {arm: unreachable_orders(confirm.filter(pl.col("arm") == arm)) for arm in arms} if orders else {}
    rows = [
        (mean.arm, order, order not in unreachable[mean.arm], mean.trials, *_bounds(mean.error))
        for order in orders
        for mean in arm_errors(trials, f"{metric}.l{order}", arms, sampling)
        if mean.error is not None
    ]
    rows.sort(key=lambda row: arms.index(row[0]))
    numbers = dict.fromkeys(("error", "low", "high"), pl.Float64)
    schema = {"arm": pl.String, "l": pl.Int64, "reachable": pl.Boolean, "trials": pl.Int64, **numbers}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _bounds(estimate: Estimate) -> tuple[float, float | None, float | None]:
    return estimate.value, *estimate.shown


@dataclass(frozen=True)
class OrderTable:
    """One metric of one target, by arm and order."""

    metric: str
    """Such as `test.relative_error`."""
    orders: tuple[int, ...]
    rows: tuple[tuple[str, dict[int | None, Estimate]], ...]
    """Arm and its errors by order; the error of all orders together, if there is one, under None."""
    whole_metric: str
    """The metric of all orders together: `metric`, or ε for its parts ε_l."""
    unreachable: frozenset[tuple[str, int]]
    """Arms and orders that are predicted as zero because no path of the network reaches them."""

    reached: "OverReached | None" = None
    """The error over the orders that all arms reach; None if all reach all orders, or only none or one."""

    @property
    def whole(self) -> bool:
        """Whether an arm has an error of all orders together."""
        return any(None in errors for _, errors in self.rows)


@dataclass(frozen=True)
class OverReached:
    """Errors over the orders that all arms reach."""

    orders: tuple[int, ...]
    composed: Literal["sum", "root mean square"]
    """How the errors of the orders of a trial become one; see the head of this module."""
    errors: Mapping[str, Estimate] = field(default_factory=dict)
    """Arm → its error, percent."""
    comparisons: tuple[Comparison, ...] = ()
    """Paired changes against the baselines, with Holm's correction over these."""


def order_tables(tables: StudyTables) -> list[OrderTable]:
    """A table for each metric that is recorded by order, in the order of `METRICS`; for a study of one target."""
    study, order_tables_ = tables.study, []
    for name, declared in METRICS.items():
        metric, whole = f"test.{name}", f"test.{declared.part_of or name}"
        parts = output_errors(tables.trials, metric, study.arms, study.sampling)
        if parts["l"].n_unique() < 2:
            continue  # the error of a single order is that of the whole, which stands in the table of arms
        errors: dict[str, dict[int | None, Estimate]] = {arm: {} for arm in dict.fromkeys(parts["arm"])}
        for row in parts.to_dicts():
            errors[row["arm"]][row["l"]] = Estimate(row["error"], row["low"], row["high"])
        for mean in _whole(tables, whole):
            if mean.error is not None and mean.arm in errors:
                errors[mean.arm][None] = mean.error
        lost = parts.filter(~pl.col("reachable")).select("arm", "l").iter_rows()
        orders = tuple(sorted(parts["l"].unique().to_list()))
        unreachable = frozenset(lost)
        common = [order for order in orders if order not in {missed for _, missed in unreachable}]
        reached = _over_reached(tables, metric, common) if unreachable else None
        order_tables_.append(OrderTable(metric, orders, tuple(errors.items()), whole, unreachable, reached))
    return order_tables_


def _over_reached(tables: StudyTables, metric: str, orders: Sequence[int]) -> OverReached | None:
    """The error over some orders; None for fewer than two, of which there is nothing to compose.

    :param metric: such as `test.block_epsilon`, recorded for each of `orders`.
    """
    if len(orders) < 2:
        return None
    study, parts = tables.study, [pl.col(f"metric.{metric}.l{order}").cast(pl.Float64) for order in orders]
    added = bool(METRICS[metric.partition(".")[2]].part_of)
    total = reduce(add, parts) if added else (reduce(add, [part**2 for part in parts]) / len(parts)).sqrt()
    trials, name = tables.trials.with_columns(total.alias(f"metric.{metric}.reached")), f"{metric}.reached"
    means = arm_errors(trials, name, study.arms, study.sampling)
    bases = {arm: study.baseline_of(arm) for arm in study.arms}
    return OverReached(
        orders=tuple(orders),
        composed="sum" if added else "root mean square",
        errors={mean.arm: mean.error for mean in means if mean.error is not None},
        comparisons=tuple(compare_arms(trials, name, study.arms, bases, study.sampling)),
    )


def _whole(tables: StudyTables, metric: str) -> list[ArmError]:
    """Errors of all orders together; none if they are not recorded."""
    if f"metric.{metric}" not in tables.trials.columns:
        return []
    return arm_errors(tables.trials, metric, tables.study.arms, tables.study.sampling)
