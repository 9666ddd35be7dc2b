"""The figure beside the verdicts: every change with its two intervals, narrow enough for a telephone."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.figures.svg import INK, MUTED
from tesseral.analysis.statistics.paired import Comparison
from tesseral.analysis.terms.estimate import bounds_here, interval

_MOST_ROWS = 12
"""With more changes than this, the figures further down show them."""
_WIDTH = 220  # of the plotting area, px: with labels it fits a page of 372 px
_LINE = 15  # height of a line of a label, px


def lead_figure(comparisons: Sequence[Comparison], here: str) -> Figure | None:
    """The change of each arm against its baseline, its interval for new data and, thicker, that for these data.

    :param comparisons: of the study; those without a change are left out.
    :param here: what the second interval holds for; see `Sampling.here`.
    :returns: None without a change, or with more than twelve.
    """
    changes = [(comparison, comparison.change) for comparison in comparisons if comparison.change is not None]
    if not changes or len(changes) > _MOST_ROWS:
        return None
    rows = [
        {
            "arm": comparison.arm,
            "value": change.value,
            "low": change.low,
            "high": change.high,
            "low_here": change.here.low if change.here else None,
            "high_here": change.here.high if change.here else None,
            "told": f"{comparison.arm} against {comparison.baseline}: {interval(change, '%', signed=True)}"
            f"{f', {bounds_here(change, signed=True)} {here}' if change.differs_here else ''}",
        }
        for comparison, change in changes
    ]
    kinds = dict.fromkeys(("value", "low", "high", "low_here", "high_here"), pl.Float64)
    table = pl.DataFrame(rows, schema={"arm": pl.String} | kinds | {"told": pl.String})
    lines = max(arm.count(", ") + 1 for arm in table["arm"])
    label = alt.Axis(domain=False, ticks=False, labelExpr="split(datum.label, ', ')", labelLineHeight=_LINE)
    y = alt.Y("arm:N", sort=table["arm"].to_list(), title=None, axis=label)
    x = alt.X(
        "value:Q", title="change of the error, %", scale=alt.Scale(zero=True, padding=10), axis=alt.Axis(tickCount=5)
    )
    base = alt.Chart(table).encode(y=y, description="told:N")
    none = alt.Chart(pl.DataFrame({"value": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
    new = base.transform_filter("isValid(datum.low)").mark_rule(color=INK, strokeWidth=1.5)
    near = base.transform_filter("isValid(datum.low_here)").mark_rule(color=INK, strokeWidth=5, opacity=0.45)
    point = base.mark_point(shape="diamond", filled=True, size=100, color=INK, opacity=1).encode(x=x)
    chart = alt.layer(
        none, near.encode(x="low_here:Q", x2="high_here:Q"), new.encode(x="low:Q", x2="high:Q"), point
    ).properties(width=_WIDTH, height=(2 * _LINE + 4 if lines < 3 else (lines + 1) * _LINE) * table.height)
    names = {comparison.baseline for comparison, _ in changes}
    against = names.pop() if len(names) == 1 else "the baseline of its group"
    return Figure(
        "changes",
        chart,
        f"Change of the error against {against}; below zero it is lower. Thin bars: 95 % intervals for new data of the "
        f"same kind. Thick bars: {here}.",
    )
