"""The figure beside the verdicts: every change with its two intervals, narrow enough for a telephone."""

import altair as alt
import polars as pl

from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.figures.svg import INK, MUTED
from tesseral.analysis.statistics.comparisons.steps import Step
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import bounds_here, interval

_MOST_ROWS = 12
"""With more changes than this, the figures further down show them."""
_WIDTH = 220  # of the plotting area, px: with labels it fits a page of 372 px
_LINE = 15  # height of a line of a label, px


def lead_figure(results: Results) -> Figure | None:
    """The change of each step or, without an ordered factor, of each arm against its baseline, as the verdicts tell.

    Its interval for new data is drawn, and thicker, that for these data.

    :returns: None without a change, or with more than twelve.
    """
    here = results.study.sampling.here
    named = [(_step_label(step), step.comparison) for step in results.steps]
    named = named or [(f"{each.arm}, against {each.baseline}", each) for each in results.comparisons]
    changes = [(label, comparison.change) for label, comparison in named if comparison.change is not None]
    if not changes or len(changes) > _MOST_ROWS:
        return None
    rows = [
        {
            "label": label,
            "value": change.value,
            "low": change.low,
            "high": change.high,
            "low_here": change.here.low if change.here else None,
            "high_here": change.here.high if change.here else None,
            "told": f"{label}: {interval(change, '%', signed=True)}"
            f"{f', {bounds_here(change, signed=True)} {here}' if change.differs_here else ''}",
        }
        for label, change in changes
    ]
    kinds = dict.fromkeys(("value", "low", "high", "low_here", "high_here"), pl.Float64)
    table = pl.DataFrame(rows, schema={"label": pl.String} | kinds | {"told": pl.String})
    lines = max(label.count(", ") + 1 for label in table["label"])
    axis = alt.Axis(domain=False, ticks=False, labelExpr="split(datum.label, ', ')", labelLineHeight=_LINE)
    y = alt.Y("label:N", sort=table["label"].to_list(), title=None, axis=axis)
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
    return Figure(
        "changes",
        chart,
        f"Change of the error; below zero it is lower. Thin bars: 95 % intervals for new data of the same kind. Thick "
        f"bars: {here}. Bars are not corrected for multiple comparisons; verdicts are.",
    )


def _step_label(step: Step) -> str:
    """A step in lines that are joined by commas."""
    return f"{step.factor} {step.upper} against {step.lower}" + (f", {step.where}" if step.where else "")
