"""Errors by order l of the target: one estimate for each arm and order, and the tables that a report shows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tesseral.analysis.statistics.paired import ArmError, arm_errors
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
        has no error. The error is in the metric's unit.
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
    return estimate.value, estimate.low, estimate.high


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

    @property
    def whole(self) -> bool:
        """Whether an arm has an error of all orders together."""
        return any(None in errors for _, errors in self.rows)


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
        order_tables_.append(OrderTable(metric, orders, tuple(errors.items()), whole, frozenset(lost)))
    return order_tables_


def _whole(tables: StudyTables, metric: str) -> list[ArmError]:
    """Errors of all orders together; none if they are not recorded."""
    if f"metric.{metric}" not in tables.trials.columns:
        return []
    return arm_errors(tables.trials, metric, tables.study.arms, tables.study.sampling)
