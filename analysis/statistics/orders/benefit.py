"""The benefit of hidden features by order l of the target.

The benefit of an arm for an order is the paired change of its relative error for that order, against the baseline of
its group; only arms are considered that differ from the baseline in their hidden features alone. A target of one order
has its error as `relative_error`; one of several has `relative_error.l<l>` for each.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.statistics.orders.orders import recorded_orders, unreachable_orders
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.search_space import HIDDEN

_RELATIVE = "test.relative_error"


class Contrast(NamedTuple):
    """An arm and its baseline, which differ in hidden features alone, for one order of their target."""

    part: StudyTables
    """The tables of their group."""
    arm: str
    baseline: str
    order: int
    metric: str
    """Name of the relative error of that order."""
    reachable: bool
    """Whether both arms reach that order."""


def contrasts(tables: StudyTables) -> Iterator[Contrast]:
    """Every contrast of a study, group by group, order by order, arm by arm."""
    for part in tables.by_group():
        study = part.study
        pairs = [(arm, base) for arm in study.arms if (base := _other_features(study, arm)) is not None]
        arms = {arm for pair in pairs for arm in pair}
        lost = {arm: unreachable_orders(part.trials.filter(pl.col("arm") == arm)) for arm in arms}
        for order, metric in _metrics(part) if pairs else ():
            for arm, base in pairs:
                yield Contrast(part, arm, base, order, metric, order not in lost[arm] | lost[base])


def benefit(tables: StudyTables) -> pl.DataFrame:
    """The change that an arm's hidden features bring, by order of the target: negative where they lower the error.

    :raises RecordError: if an arm has several complete trials of one block and replicate.
    :returns: l, target (name of the group), arm, hidden (its levels as text), reachable (by the arm and its baseline),
        pairs, change, low, high (percent; see `Estimate.shown`); sorted by l, otherwise in the study's order.
    """
    rows: list[tuple[Any, ...]] = []
    for part, arm, base, order, metric, reachable in contrasts(tables):
        # One pair of arms a call: p after Holm's correction is not used, and the intervals are not corrected.
        (comparison,) = compare_arms(part.trials, metric, (arm, base), base, part.study.sampling)
        if (change := comparison.change) is not None:
            place = (order, next(iter(part.study.groups)).name, arm, hidden_text(part.study, arm), reachable)
            rows.append((*place, comparison.pairs, change.value, *change.shown))
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
    """The baseline of an arm if the two differ in `network.hidden` alone, else None."""
    base = study.baseline_of(arm)
    if base is None or base == arm:
        return None
    ours, theirs = study.levels.get(arm, {}), study.levels.get(base, {})
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    alone = bool(different) and all(path.startswith(HIDDEN) for path in different.difference(FACTORS))
    return base if alone else None


def _metrics(tables: StudyTables) -> list[tuple[int, str]]:
    """Each recorded order of the target and its metric; none for a study of several targets."""
    target = tables.study.target
    if target is None:
        return []
    # A property of one order has no errors by order: its error as a whole is that of the order. A density has both.
    if len(target.orders) == 1 and not target.quantity.in_basis:
        return [(target.orders[0], _RELATIVE)] if f"metric.{_RELATIVE}" in tables.trials.columns else []
    return [(order, f"{_RELATIVE}.l{order}") for order in recorded_orders(tables.trials, _RELATIVE)]
