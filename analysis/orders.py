"""Errors of each order l of what is predicted: as tables, and as the benefit of hidden features by order.

The benefit of an arm for an order is its paired change against the baseline of its group, in the relative error of
that order. A target of one order has it as its `relative_error`; one of several has `relative_error.l<l>` for each.
"""

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from tesseral.analysis import hierarchy
from tesseral.analysis.info import StudyInfo
from tesseral.analysis.load import StudyTables
from tesseral.analysis.statistics import ArmError, Estimate, against, by_arm
from tesseral.analysis.targets import FACTORS
from tesseral.study.metrics import METRICS

_HIDDEN = "network.hidden"
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
    return by_arm(tables.trials, metric, tables.study.arms, tables.study.most_blocks)


def benefit(tables: StudyTables) -> pl.DataFrame:
    """What other hidden features than the baseline's change, by order of what is predicted.

    Only arms that differ from the baseline of their group in `network.hidden` alone are here.

    :returns: l, target (name of the group), arm, hidden (its levels as text), reachable (by the arm and its baseline),
        pairs, change, low, high in percent; sorted by l, otherwise in the study's order.
    """
    rows: list[tuple[Any, ...]] = []
    several: set[str] = set()
    for part in tables.by_group():
        study = part.study
        arms = [arm for arm in study.arms if _differs_in_hidden_alone(study, arm)]
        own = {arm: study.baseline_of(arm) for arm in study.arms}
        name = next(iter(study.groups)).name
        metrics = _metrics(part)
        if len(metrics) > 1:
            several.add(name)
        for order, metric in metrics:
            if not arms:
                continue
            lost = {arm: hierarchy.unreachable_orders(part.trials.filter(pl.col("arm") == arm)) for arm in study.arms}
            for found in against(part.trials, metric, study.arms, own, study.most_blocks):
                if found.arm in arms and found.change is not None:
                    reachable = order not in lost[found.arm] | lost[found.baseline]
                    change = found.change
                    hidden = hidden_text(study, found.arm)
                    rows.append(
                        (order, name, found.arm, hidden, reachable, found.pairs, change.value, change.low, change.high)
                    )
    # Within an order, targets of that order alone come before one of several.
    rows.sort(key=lambda row: (row[0], row[1] in several))
    words = dict.fromkeys(("target", "arm", "hidden"), pl.String)
    numbers = dict.fromkeys(("change", "low", "high"), pl.Float64)
    kinds = {"l": pl.Int64, **words, "reachable": pl.Boolean, "pairs": pl.Int64, **numbers}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def hidden_text(study: StudyInfo, arm: str) -> str:
    """The levels of an arm's hidden features, such as 'lmax=2'."""
    levels = study.levels.get(arm, {})
    return ", ".join(f"{path.split('.')[-1]}={level}" for path, level in levels.items() if path.startswith(_HIDDEN))


def _differs_in_hidden_alone(study: StudyInfo, arm: str) -> bool:
    base = study.baseline_of(arm)
    if base is None or base == arm:
        return False
    ours, theirs = study.levels.get(arm, {}), study.levels.get(base, {})
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    return bool(different) and all(path.startswith(_HIDDEN) for path in different.difference(FACTORS))


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
