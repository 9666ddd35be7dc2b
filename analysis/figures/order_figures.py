"""Figures by order l of the target: errors of arms, and the benefit of hidden features."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, axis, order_scale
from tesseral.analysis.figures.figure import Figure, about_intervals
from tesseral.analysis.figures.svg import MUTED
from tesseral.analysis.statistics.orders.order_trend import trend_sentences
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import AGGREGATES, Estimate, interval
from tesseral.analysis.terms.metric_label import MetricLabel
from tesseral.study.design.search_space import HIDDEN
from tesseral.study.wording import count, listed

LETTER = 6.5
"""Width of a letter of a label, px."""
_LINES = "split(datum.label, ', ')"  # a label of several factors takes a line for each
_OUT_OF_REACH = "out of reach, predicted as zero"
_UNREACHED = "out of reach of the arm or its baseline"


def benefit_figures(results: Results) -> Iterator[Figure]:
    """The benefit of hidden features by order of the target, if several orders are predicted."""
    benefits = results.benefits
    if benefits.select("l", "target").n_unique() > 1:
        tested = trend_sentences(results.trends)
        yield Figure(
            "benefit-by-order",
            benefit_by_order(benefits),
            "Each point is the change of an arm’s relative error against its baseline, an arm that differs in hidden "
            "features only: the geometric "
            f"{AGGREGATES[results.study.aggregate]} of the ratios of paired errors, minus one. Below zero, the arm has "
            "the lower error. "
            + about_intervals(
                benefits["low"],
                f"Bars are 95 % intervals {results.study.sampling.shown}, not corrected for multiple comparisons.",
            )
            + " "
            + ("The findings at the top of this page state" if tested else "It is not tested")
            + " whether the change depends on the order."
            + _left_out(results),
        )


def _left_out(results: Results) -> str:
    """How many arms are not drawn, because they differ from their baseline in more than hidden features."""
    study, drawn = results.study, {*results.benefits["arm"]}
    others = [arm for arm in study.arms if arm not in drawn and study.baseline_of(arm) not in (None, arm)]
    waiting = {arm.arm for arm in results.arms if arm.comparison is None or arm.comparison.change is None}
    others = [arm for arm in others if arm not in waiting]
    if not others:
        return ""
    alike = sorted({level for arm in others for level in _further(results, arm)})
    return (
        f" {count(len(others), 'arm')} with another {listed(alike)} than the baseline "
        f"{'is' if len(others) == 1 else 'are'} not shown; as study.within, it would give each level a baseline of its "
        "own."
    )


def _further(results: Results, arm: str) -> list[str]:
    """The settings besides hidden features in which an arm differs from its baseline."""
    study = results.study
    ours, theirs = (study.levels.get(each or "", {}) for each in (arm, study.baseline_of(arm)))
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    return [path for path in different if not path.startswith(HIDDEN)]


def _labels(outputs: Sequence[str]) -> alt.Axis:
    """An axis of these labels, on lines of their own if they have room beside each other, else aslant."""
    longest = max((len(line) for output in outputs for line in output.split(", ")), default=0)
    if longest * LETTER * len(outputs) <= WIDTH:
        return alt.Axis(labelAngle=0, labelExpr=_LINES, ticks=False)
    return alt.Axis(labelAngle=-45, labelLimit=240, ticks=False)


def error_by_order(outputs: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The error of each output order by arm; a cross marks an order that the arm cannot reach.

    :param outputs: from `orders.output_errors`.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the metric that is drawn.
    """
    rows = outputs.filter(pl.col("error") > 0).with_columns(
        state=pl.when("reachable").then(pl.lit("reached")).otherwise(pl.lit(_OUT_OF_REACH)),
        tooltip=pl.format("{}, l = {}: ", "arm", "l")
        + pl.col("error").map_elements(lambda v: f"{v:.3g} {metric.unit}".rstrip(), return_dtype=pl.String)
        + pl.when("reachable").then(pl.lit("")).otherwise(pl.lit(f" ({_OUT_OF_REACH})")),
    )
    x = alt.X("l:O", title="order l of the output", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("arm:N", sort=list(arms), scale=alt.Scale(paddingOuter=0.6))
    bounds = [*rows["error"], *rows["low"].drop_nulls(), *rows["high"].drop_nulls()]
    y = alt.Y("error:Q", **axis([value for value in bounds if value > 0], metric.axis))
    shape = alt.Shape(
        "state:N",
        title=None,
        scale=alt.Scale(domain=["reached", _OUT_OF_REACH], range=["circle", "cross"]),
        legend=None if rows["reachable"].all() else alt.Legend(symbolFillColor=MUTED, symbolStrokeWidth=0),
    )
    base = alt.Chart(rows).encode(x=x, xOffset=offset, color=arm_colour(arms), description="tooltip:N")
    bars = (
        base.transform_filter("isValid(datum.low) && datum.low > 0")
        .mark_rule(strokeWidth=2)
        .encode(y=alt.Y("low:Q", title=metric.axis), y2="high:Q")
    )
    points = base.mark_point(filled=True, size=75, opacity=1).encode(y=y, shape=shape)
    return alt.layer(bars, points).properties(width=WIDTH, height=280, title=f"{metric.title} by output order and arm")


def benefit_by_order(benefit: pl.DataFrame) -> alt.LayerChart:
    """The change against the baseline of each group by order of its target, one colour for each set of features.

    :param benefit: from `benefit.benefit`.
    """
    rows = benefit.with_columns(
        output=pl.format("l = {}, {}", "l", "target"),
        state=pl.when("reachable").then(pl.lit("reached")).otherwise(pl.lit(_UNREACHED)),
        tooltip=pl.struct("l", "target", "arm", "change", "low", "high", "reachable").map_elements(
            lambda row: (
                f"{row['arm']}: {row['target']}, l = {row['l']}: "
                + interval(Estimate(row["change"], row["low"], row["high"]), "%", signed=True)
                + ("" if row["reachable"] else f" ({_UNREACHED})")
            ),
            return_dtype=pl.String,
        ),
    )
    outputs, hidden = (list(dict.fromkeys(rows[name])) for name in ("output", "hidden"))
    x = alt.X("output:N", sort=outputs, title=None, axis=_labels(outputs))
    offset = alt.XOffset("hidden:N", sort=hidden, scale=alt.Scale(paddingOuter=0.7))
    title = "change against the baseline, %"
    y = alt.Y("change:Q", title=title, scale=alt.Scale(zero=True, padding=12))
    colour = alt.Color(
        "hidden:N", title=None, scale=order_scale(hidden), sort=hidden, legend=alt.Legend(symbolType="circle")
    )
    shape = alt.Shape(
        "state:N",
        title=None,
        scale=alt.Scale(domain=["reached", _UNREACHED], range=["circle", "cross"]),
        legend=None if rows["reachable"].all() else alt.Legend(symbolFillColor=MUTED, symbolStrokeWidth=0),
    )
    none = alt.Chart(pl.DataFrame({"change": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=y)
    base = alt.Chart(rows).encode(x=x, xOffset=offset, color=colour, description="tooltip:N")
    bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
    bars = bars.encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    points = base.mark_point(filled=True, size=75, opacity=1).encode(y=y, shape=shape)
    return alt.layer(none, bars, points).properties(
        width=WIDTH, height=300, title="Benefit of hidden features by order of the output (test)"
    )
