"""The frontier of error against cost as a table: how surely each arm is on it."""

import polars as pl

from tesseral.analysis.statistics.comparisons.costs import COSTS
from tesseral.analysis.statistics.comparisons.frontier import AGAINST
from tesseral.analysis.statistics.results import Results


def frontier_table(results: Results) -> list[dict[str, str]]:
    """One dictionary (heading → cell) for each arm that is ever on a frontier; empty with fewer than two arms.

    A cell says whether the arm is on the frontier, and in which share of bootstrap draws.
    """
    rows = results.frontier.filter(pl.col("front") | (pl.col("share") > 0))
    costs = [cost for cost in AGAINST if cost in set(rows["cost"])]
    cells = {(cost, arm): (front, share) for cost, arm, _, _, front, share in rows.iter_rows()}
    return [
        {"arm": arm, **{f"against {COSTS[cost]}": _cell(*cells.get((cost, arm), (False, 0.0))) for cost in costs}}
        for arm in results.study.arms
        if arm in set(rows["arm"])
    ]


def _cell(front: bool, share: float | None) -> str:
    """Such as `on it, 97 %`."""
    word = "on it" if front else "not on it"
    return word if share is None else f"{word}, {100 * share:.0f} %"
