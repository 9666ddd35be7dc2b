"""The figure beside the verdicts: every change with its two intervals, narrow enough for a telephone."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.figure import Figure, about_intervals
from tesseral.analysis.figures.svg import INK, MUTED
from tesseral.analysis.statistics.comparisons.paired import Comparison
from tesseral.analysis.statistics.comparisons.steps import Step
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import intervals

_MOST_ROWS = 12
"""With more changes than this, the figures further down show them."""
_WIDTH = 220  # of the plotting area, px: with labels it fits a page of 372 px
_LINE = 15  # height of a line of a label, px


def lead_figure(results: Results) -> Figure | None:
    """The change of each step or, without an ordered factor, of each arm against its baseline, as the verdicts tell.

    Its interval for new data is drawn, and thicker, that for these data.

    :returns: None without a change, or with more than twelve.
    """
    if results.steps:
        figure, number = _of_steps(results, "changes"), len(results.steps)
    else:
        named = [(f"{each.arm}, against {each.baseline}", "", each) for each in results.comparisons]
        figure, number = _figure("changes", named, results.study, None), len(named)
    return figure if number <= _MOST_ROWS else None


def step_figure(results: Results) -> Figure | None:
    """The change of every step, where they are too many for the figure beside the verdicts.

    :returns: None without a change, or where `lead_figure` shows them.
    """
    return _of_steps(results, "steps") if len(results.steps) > _MOST_ROWS else None


def _of_steps(results: Results, name: str) -> Figure | None:
    named = [(_step_label(step), f" ({step.verdict})", step.comparison) for step in results.steps]
    return _figure(name, named, results.study, results.study.margin)


def _figure(
    name: str, named: Sequence[tuple[str, str, Comparison]], study: StudyInfo, margin: float | None
) -> Figure | None:
    """A row for each change.

    :param named: label, verdict in brackets and comparison; those without a change are left out.
    :param margin: δ, percent, drawn as a band; None for none.
    """
    changes = [(label, verdict, comparison.change) for label, verdict, comparison in named if comparison.change]
    if not changes:
        return None
    rows = [
        {
            "label": label,
            "value": change.value,
            "low": change.low,
            "high": change.high,
            "low_here": change.here.low if change.here else None,
            "high_here": change.here.high if change.here else None,
            "told": f"{label}: {intervals(change, study.sampling.here, '%', signed=True)}{verdict}",
        }
        for label, verdict, change in changes
    ]
    kinds = dict.fromkeys(("value", "low", "high", "low_here", "high_here"), pl.Float64)
    table = pl.DataFrame(rows, schema={"label": pl.String} | kinds | {"told": pl.String})
    lines = max(label.count(", ") + 1 for label in table["label"])
    axis = alt.Axis(domain=False, ticks=False, labelExpr="split(datum.label, ', ')", labelLineHeight=_LINE)
    y = alt.Y("label:N", sort=table["label"].to_list(), title=None, axis=axis)
    title = "change of the error, %"
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=True, padding=10), axis=alt.Axis(tickCount=5))
    base = alt.Chart(table).encode(y=y, description="told:N")
    none = alt.Chart(pl.DataFrame({"value": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
    new = base.transform_filter("isValid(datum.low)").mark_rule(color=INK, strokeWidth=1.5)
    near = base.transform_filter("isValid(datum.low_here)").mark_rule(color=INK, strokeWidth=5, opacity=0.45)
    point = base.mark_point(shape="diamond", filled=True, size=100, color=INK, opacity=1).encode(x=x)
    drawn: list[alt.Chart] = []
    if margin is not None:
        band = alt.Chart(pl.DataFrame({"low": [-margin], "high": [margin]})).mark_rect(color=MUTED, opacity=0.2)
        drawn.append(band.encode(x=alt.X("low:Q", title=title), x2="high:Q"))
    drawn += [none, near.encode(x="low_here:Q", x2="high_here:Q"), new.encode(x="low:Q", x2="high:Q"), point]
    chart = alt.layer(*drawn).properties(
        width=_WIDTH, height=(2 * _LINE + 4 if lines < 3 else (lines + 1) * _LINE) * table.height
    )
    bars = f"Bars: 95 % intervals {study.sampling.here}."
    if study.sampling.for_new_data:
        bars = f"Thin bars: 95 % intervals for new data of the same kind. Thick bars: {study.sampling.here}."
    corrected = "; verdicts are" if study.sampling.for_new_data else ""
    bars = about_intervals(
        [change.shown[0] for _, _, change in changes],
        f"{bars} They are not corrected for multiple comparisons{corrected}.",
    )
    told = f" Grey: ±δ, {margin:g} %." if margin is not None else ""
    return Figure(name, chart, f"Change of the error; below zero it is lower. {bars}{told}")


def _step_label(step: Step) -> str:
    """A step in lines that are joined by commas."""
    return f"{step.factor} {step.upper} against {step.lower}" + (f", {step.where}" if step.where else "")
