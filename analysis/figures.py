"""The charts of a report. Each takes plain frames, colours arms alike, and states in its title what it shows."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

import altair as alt
import polars as pl

from tesseral.analysis.statistics import ArmError, Comparison, Estimate
from tesseral.analysis.svg import INK, MUTED, arm_scale, order_scale
from tesseral.analysis.wording import MetricLabel, interval

WIDTH = 620
"""Pixels of a chart's plotting area; labels stand beside it."""
_ROW = 46  # pixels
_CHARACTER = 6.5  # pixels, a mean width
_LINES = "split(datum.value, ', ')"  # a label of several factors takes a line for each
_MOST_EPOCHS = 150
"""Points of a learning curve that a page can show."""


def error_by_arm(errors: pl.DataFrame, summaries: Sequence[ArmError], metric: MetricLabel) -> alt.LayerChart:
    """Each trial's error as a point, pairs joined by a line, with the arms' means and intervals.

    :param errors: of `statistics.errors`.
    """
    arms = [summary.arm for summary in summaries]
    points = errors.with_columns(
        place=pl.col("arm").replace_strict(arms, range(len(arms)), return_dtype=pl.Int64),
        pair=pl.format("{}/{}", "block", "replicate"),
        told=pl.format("{}: block {}, replicate {}", "arm", "block", "replicate")
        + pl.col("error").map_elements(lambda v: f": {v:.4g} {metric.unit}".rstrip(), return_dtype=pl.String),
    )
    means = _estimates([(s.arm, s.error) for s in summaries], metric.unit)
    bounds = [*errors["error"], *means["low"].drop_nulls(), *means["high"].drop_nulls()]
    x = alt.X("error:Q", **_axis(bounds, metric.axis))
    y = alt.Y("arm:N", sort=arms, title=None, axis=alt.Axis(grid=True, domain=False, ticks=False))
    base = alt.Chart(points).encode(x=x, y=y)
    lines = base.mark_line(color=MUTED, opacity=0.35, strokeWidth=1).encode(detail="pair:N", order="place:Q")
    dots = base.mark_circle(size=44, opacity=0.75).encode(color=_arm_colour(arms, legend=False), description="told:N")
    # Means stand beside their points, not on them.
    beside = {"y": y, "yOffset": alt.value(_ROW / 2 - 13), "description": "told:N"}
    rule = alt.Chart(means.drop_nulls("low")).mark_rule(color=INK, strokeWidth=2)
    mean = alt.Chart(means).mark_point(shape="diamond", filled=True, size=90, color=INK, opacity=1)
    rule = rule.encode(x=alt.X("low:Q", title=metric.axis), x2="high:Q", **beside)
    mean = mean.encode(x=alt.X("value:Q", title=metric.axis), **beside)
    return alt.layer(lines, rule, mean, dots).properties(
        width=WIDTH, height=_ROW * len(arms), title=f"{metric.title} by arm"
    )


def change_by_arm(comparisons: Sequence[Comparison], arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The relative change against the baseline with its interval, and the line of no change."""
    table = _estimates([(c.arm, c.change) for c in comparisons], "%", signed=True)
    compared = table["arm"].to_list()
    title = f"change of {metric.noun}, %"
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=True, padding=12), axis=alt.Axis(tickCount=9))
    y = alt.Y("arm:N", sort=compared, title=None, axis=alt.Axis(domain=False, ticks=False))
    encoding = {"y": y, "color": _arm_colour(arms, legend=False), "description": "told:N"}
    none = alt.Chart(pl.DataFrame({"value": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
    rule = alt.Chart(table.drop_nulls("low")).mark_rule(strokeWidth=2.5)
    rule = rule.encode(x=alt.X("low:Q", title=title), x2="high:Q", **encoding)
    point = alt.Chart(table).mark_point(shape="diamond", filled=True, size=110, opacity=1).encode(x=x, **encoding)
    return alt.layer(none, rule, point).properties(
        width=WIDTH,
        height=(_ROW - 10) * len(compared),
        title=f"{metric.title}: change against {comparisons[0].baseline}",
    )


def error_by_order(outputs: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The error of each output order by arm; a cross marks an order that the arm cannot reach.

    :param outputs: of `hierarchy.output_errors`.
    """
    rows = outputs.filter(pl.col("error") > 0).with_columns(
        state=pl.when("reachable").then(pl.lit("reached")).otherwise(pl.lit("out of reach, predicted zero")),
        told=pl.format("{}, l = {}: ", "arm", "l")
        + pl.col("error").map_elements(lambda v: f"{v:.3g} {metric.unit}".rstrip(), return_dtype=pl.String)
        + pl.when("reachable").then(pl.lit("")).otherwise(pl.lit(" (out of reach, predicted zero)")),
    )
    x = alt.X("l:O", title="order l of the output", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("arm:N", sort=list(arms), scale=alt.Scale(paddingOuter=0.6))
    bounds = [*rows["error"], *rows["low"].drop_nulls(), *rows["high"].drop_nulls()]
    y = alt.Y("error:Q", **_axis([value for value in bounds if value > 0], metric.axis))
    shape = alt.Shape(
        "state:N",
        title=None,
        scale=alt.Scale(domain=["reached", "out of reach, predicted zero"], range=["circle", "cross"]),
        legend=None if rows["reachable"].all() else alt.Legend(symbolFillColor=MUTED, symbolStrokeWidth=0),
    )
    base = alt.Chart(rows).encode(x=x, xOffset=offset, color=_arm_colour(arms), description="told:N")
    bars = (
        base.transform_filter("isValid(datum.low) && datum.low > 0")
        .mark_rule(strokeWidth=2)
        .encode(y=alt.Y("low:Q", title=metric.axis), y2="high:Q")
    )
    points = base.mark_point(filled=True, size=75, opacity=1).encode(y=y, shape=shape)
    return alt.layer(bars, points).properties(width=WIDTH, height=280, title=f"{metric.title} by output order and arm")


def learning_curves(curves: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The median over trials by epoch, in a band from the lowest to the highest.

    :param curves: arm, epoch, value; one row a trial and epoch.
    """
    base = alt.Chart(_spread_over_trials(curves, ["arm"])).encode(
        x=alt.X("epoch:Q", title="epoch"), color=_arm_colour(arms)
    )
    return _band(base, metric, curves["value"].to_list()).properties(
        width=WIDTH, height=280, title=f"{metric.title} during training"
    )


def learning_by_order(curves: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.FacetChart:
    """`learning_curves` for each output order side by side, on one axis.

    :param curves: arm, epoch, l, value.
    """
    orders = curves["l"].n_unique()
    base = alt.Chart(_spread_over_trials(curves, ["arm", "l"])).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3)), color=_arm_colour(arms)
    )
    chart = _band(base, metric, curves["value"].to_list()).properties(width=max(90, WIDTH / orders - 12), height=200)
    return chart.facet(
        column=alt.Column("l:O", title=None, header=alt.Header(labelExpr="'l = ' + datum.value")), spacing=12
    ).properties(title=f"{metric.title} of each output order during training")


def features_by_order(features: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """The share of each order in a layer's squared norm over epochs, one panel for each of `arms` and each layer.

    :param features: of `hierarchy.mean_features`; colours and axes are those of all its arms.
    """
    positive = features.filter(pl.col("share") > 0)
    rows = positive.filter(pl.col("arm").is_in(list(arms))).with_columns(
        told=pl.format("{}, layer {}, l = {}", "arm", "layer", "l")
    )
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3)),
            y=alt.Y("share:Q", **_axis(positive["share"].to_list(), "share")),
            color=alt.Color("l:O", title="order l of the feature", scale=order_scale(sorted(features["l"].unique()))),
            description="told:N",
        )
        .properties(width=max(90, WIDTH / len(arms) - 12), height=120)
    )
    return lines.facet(
        # A label of several factors takes a line for each.
        column=alt.Column(
            "arm:N", sort=list(arms), title=None, header=alt.Header(labelExpr="split(datum.value, ', ')")
        ),
        row=alt.Row("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        spacing=12,
    ).properties(title="Share of each order in a layer's squared norm")


def error_against_cost(costs: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.HConcatChart:
    """Mean error with its interval against parameters and against training time.

    :param costs: arm, parameters, seconds, error, low, high.
    """
    rows = costs.drop_nulls(["error", "parameters", "seconds"]).with_columns(
        told=pl.format("{}: {} parameters, {} s", "arm", "parameters", pl.col("seconds").round(1))
    )
    bounds = [*rows["error"], *rows["low"].drop_nulls(), *rows["high"].drop_nulls()]
    y = alt.Y("error:Q", **_axis(bounds, metric.axis))
    panels = []
    for column, title in (("parameters", "parameters"), ("seconds", "training time of a trial (s)")):
        x = alt.X(f"{column}:Q", **_axis(rows[column].to_list(), title, count=4, number_format="~s"))
        base = alt.Chart(rows).encode(x=x, color=_arm_colour(arms), description="told:N")
        bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
        bars = bars.encode(y=alt.Y("low:Q", title=metric.axis), y2="high:Q")
        points = base.mark_point(shape="diamond", filled=True, size=110, opacity=1).encode(y=y)
        panels.append(alt.layer(bars, points).properties(width=WIDTH / 2 - 35, height=240))
    return alt.hconcat(*panels, spacing=30).properties(title=f"{metric.title} against its cost")


def best_by_proposal(steps: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.Chart:
    """The lowest validation error so far against the number of proposals, a staircase for each arm.

    :param steps: of `search.best_so_far`.
    """
    rows = steps.with_columns(told=pl.col("arm"))
    x = alt.X("n:Q", title="distinct proposals", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(domainMin=0))
    return (
        alt.Chart(rows)
        .mark_line(strokeWidth=2, interpolate="step-after", point=alt.OverlayMarkDef(size=22))
        .encode(
            x=x,
            y=alt.Y("value:Q", **_axis(rows["value"].to_list(), metric.axis)),
            color=_arm_colour(arms),
            description="told:N",
        )
        .properties(width=WIDTH, height=280, title=f"{metric.title}: the lowest so far in the search of each arm")
    )


def _arm_colour(arms: Sequence[str], *, legend: bool = True) -> alt.Color:
    # A legend takes its symbols from the chart's first layer, which may be a faint band: make them plain discs.
    columns = max(1, WIDTH // (_CHARACTER * max(map(len, arms), default=1) + 30))
    shown = alt.Legend(symbolType="circle", symbolOpacity=1, symbolStrokeWidth=0, columns=columns) if legend else None
    return alt.Color("arm:N", title=None, scale=arm_scale(arms), sort=list(arms), legend=shown)


def _estimates(rows: Sequence[tuple[str, Estimate | None]], unit: str, *, signed: bool = False) -> pl.DataFrame:
    """arm, value, low, high and `told`, the tooltip; without the arms that have no estimate."""
    known = [
        (arm, e.value, e.low, e.high, f"{arm}: {interval(e, unit, signed=signed)}") for arm, e in rows if e is not None
    ]
    kinds = {"arm": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "told": pl.String}
    return pl.DataFrame(known, schema=kinds, orient="row")


def _axis(values: Sequence[float], title: str, count: int = 7, number_format: str = "~g") -> dict[str, Any]:
    """Title, scale and ticks of an axis: logarithmic where positive values span more than a factor of three."""
    if min(values) <= 0 or max(values) <= 3 * min(values):
        # "~g" would write tens as 1e+1 here, where Vega sets the precision by the ticks' step.
        linear = alt.Axis(tickCount=count, format=alt.Undefined if number_format == "~g" else number_format)
        return {"title": title, "scale": alt.Scale(zero=False, padding=12), "axis": linear}
    low, high = min(values) / 1.12, max(values) * 1.12
    axis = alt.Axis(values=_log_ticks(low, high), format=number_format)
    return {"title": title, "scale": alt.Scale(type="log", domain=[low, high], nice=False), "axis": axis}


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about half a dozen, evenly spread on a logarithmic axis."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    if high / low < 12:
        steps: tuple[int, ...] = (1, 2, 3, 5, 7)
    else:
        steps = (1, 2, 5) if high / low < 1000 else (1,)
    every = -(-len(decades) // 7)
    return [step * 10.0**power for power in decades[::every] for step in steps if low <= step * 10.0**power <= high]


def _spread_over_trials(curves: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Median, lowest and highest value over trials by epoch, at no more epochs than a page can show."""
    every = max(1, -(-int(curves["epoch"].max() or 0) // _MOST_EPOCHS))  # type: ignore[arg-type]
    return (
        curves.filter(pl.col("epoch") % every == 0, pl.col("value").is_finite())
        .group_by(*by, "epoch")
        .agg(median=pl.col("value").median(), lowest=pl.col("value").min(), highest=pl.col("value").max())
        .with_columns(told=pl.col("arm"))
        .sort(*by, "epoch")
    )


def _band(base: alt.Chart, metric: MetricLabel, values: Sequence[float]) -> alt.LayerChart:
    y = alt.Y("median:Q", **_axis(values, metric.axis))
    band = base.mark_area(opacity=0.14).encode(y=alt.Y("lowest:Q", title=metric.axis), y2="highest:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, description="told:N")
    return alt.layer(band, line)
