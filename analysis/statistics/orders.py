"""Errors of each order l of what is predicted: as tables, and as the benefit of hidden features by order.

The benefit of an arm for an order is its paired change against the baseline of its group, in the relative error of
that order. A target of one order has it as its `relative_error`; one of several has `relative_error.l<l>` for each.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from tesseral.analysis.statistics import features as hierarchy
from tesseral.analysis.statistics.paired import ArmError, arm_errors, compare_arms
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import Estimate
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.design.baselines import FACTORS

HIDDEN = "network.hidden"
"""Where the factors stand that hidden features are."""
_RELATIVE = "test.relative_error"


@dataclass(frozen=True)
class OrderTable:
    """One metric of one target, by arm and order."""

    metric: str
    """Such as `test.relative_error`."""
    orders: tuple[int, ...]
    rows: tuple[tuple[str, dict[int | None, Estimate]], ...]
    """Arm and its errors; those of all orders together, where they are one number, under None."""
    unreachable: frozenset[tuple[str, int]]
    """Arms and orders that they predict as zero."""

    @property
    def whole(self) -> bool:
        """Whether there is one number for all orders together."""
        return any(None in errors for _, errors in self.rows)


def order_tables(tables: StudyTables) -> list[OrderTable]:
    """Of a study of one target, a table for each metric that is recorded by order, in the order of `METRICS`."""
    study, found = tables.study, []
    for name in METRICS:
        metric = f"test.{name}"
        parts = hierarchy.output_errors(tables.trials, metric, study.arms, study.most_blocks)
        if parts["l"].n_unique() < 2:
            continue
        errors: dict[str, dict[int | None, Estimate]] = {arm: {} for arm in dict.fromkeys(parts["arm"])}
        for row in parts.to_dicts():
            errors[row["arm"]][row["l"]] = Estimate(row["error"], row["low"], row["high"])
        # ε_l are shares of the whole density, and so have ε as their whole.
        for summary in _whole(tables, "test.epsilon" if name == "block_epsilon" else metric):
            if summary.error is not None and summary.arm in errors:
                errors[summary.arm][None] = summary.error
        lost = parts.filter(~pl.col("reachable"))
        orders = tuple(sorted(parts["l"].unique().to_list()))
        found.append(OrderTable(metric, orders, tuple(errors.items()), frozenset(lost.select("arm", "l").iter_rows())))
    return found


def _whole(tables: StudyTables, metric: str) -> list[ArmError]:
    if f"metric.{metric}" not in tables.trials.columns:
        return []
    return arm_errors(tables.trials, metric, tables.study.arms, tables.study.most_blocks)


class Contrast(NamedTuple):
    """An arm and the baseline of its group, which differs in hidden features alone, in one order of their target."""

    part: StudyTables
    """Of the group."""
    arm: str
    baseline: str
    order: int
    metric: str
    """The relative error of that order."""
    reachable: bool
    """By both."""


def contrasts(tables: StudyTables) -> Iterator[Contrast]:
    """Group by group, order by order, arm by arm."""
    for part in tables.by_group():
        study = part.study
        pairs = [(arm, base) for arm in study.arms if (base := _other_features(study, arm)) is not None]
        arms = {arm for pair in pairs for arm in pair}
        lost = {arm: hierarchy.unreachable_orders(part.trials.filter(pl.col("arm") == arm)) for arm in arms}
        for order, metric in _metrics(part) if pairs else ():
            for arm, base in pairs:
                yield Contrast(part, arm, base, order, metric, order not in lost[arm] | lost[base])


def benefit(tables: StudyTables) -> pl.DataFrame:
    """What other hidden features than the baseline's change, by order of what is predicted.

    :returns: l, target (name of the group), arm, hidden (its levels as text), reachable (by the arm and its baseline),
        pairs, change, low, high in percent; sorted by l, otherwise in the study's order.
    """
    rows: list[tuple[Any, ...]] = []
    for part, arm, base, order, metric, reachable in contrasts(tables):
        (found,) = compare_arms(part.trials, metric, (arm, base), base, part.study.most_blocks)
        if (change := found.change) is not None:
            place = (order, next(iter(part.study.groups)).name, arm, hidden_text(part.study, arm), reachable)
            rows.append((*place, found.pairs, change.value, change.low, change.high))
    orders = {name: {order for order, other, *_ in rows if other == name} for _, name, *_ in rows}
    # Within an order, targets of that order alone come before one of several.
    rows.sort(key=lambda row: (row[0], len(orders[row[1]]) > 1))
    words = dict.fromkeys(("target", "arm", "hidden"), pl.String)
    numbers = dict.fromkeys(("change", "low", "high"), pl.Float64)
    kinds = {"l": pl.Int64, **words, "reachable": pl.Boolean, "pairs": pl.Int64, **numbers}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def hidden_text(study: StudyInfo, arm: str) -> str:
    """The levels of an arm's hidden features, such as 'lmax=2'."""
    levels = study.levels.get(arm, {})
    return ", ".join(f"{path.split('.')[-1]}={level}" for path, level in levels.items() if path.startswith(HIDDEN))


def _other_features(study: StudyInfo, arm: str) -> str | None:
    """The baseline of an arm that differs from it in `network.hidden` alone; None of any other."""
    base = study.baseline_of(arm)
    if base is None or base == arm:
        return None
    ours, theirs = study.levels.get(arm, {}), study.levels.get(base, {})
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    alone = bool(different) and all(path.startswith(HIDDEN) for path in different.difference(FACTORS))
    return base if alone else None


def _metrics(tables: StudyTables) -> list[tuple[int, str]]:
    """Order and metric of each order that the only target has and that is recorded."""
    target = tables.study.target
    if target is None:
        return []
    if len(target.orders) == 1 and target.quantity != "density":
        return [(target.orders[0], _RELATIVE)] if f"metric.{_RELATIVE}" in tables.trials.columns else []
    pattern = re.compile(re.escape(f"metric.{_RELATIVE}.l") + r"(\d+)")
    orders = sorted(int(found[1]) for name in tables.trials.columns if (found := pattern.fullmatch(name)))
    return [(order, f"{_RELATIVE}.l{order}") for order in orders]
