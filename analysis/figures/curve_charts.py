"""The charts of what changes with time: errors and features over epochs, the best of a search over proposals."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, arm_columns, axis
from tesseral.analysis.figures.svg import order_scale
from tesseral.analysis.terms.wording import MetricLabel

_MOST_EPOCHS = 150
"""Points of a learning curve that a page can show."""


def learning_curves(curves: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The median over trials by epoch, in a band from the lowest to the highest.

    :param curves: arm, epoch, value; one row a trial and epoch.
    """
    base = alt.Chart(_spread_over_trials(curves, ["arm"])).encode(
        x=alt.X("epoch:Q", title="epoch"), color=arm_colour(arms)
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
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3)), color=arm_colour(arms)
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
            y=alt.Y("share:Q", **axis(positive["share"].to_list(), "share")),
            color=alt.Color("l:O", title="order l of the feature", scale=order_scale(sorted(features["l"].unique()))),
            description="told:N",
        )
        .properties(width=max(90, WIDTH / len(arms) - 12), height=120)
    )
    return lines.facet(
        column=arm_columns(arms),
        row=alt.Row("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        spacing=12,
    ).properties(title="Share of each order in a layer's squared norm")


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
            y=alt.Y("value:Q", **axis(rows["value"].to_list(), metric.axis)),
            color=arm_colour(arms),
            description="told:N",
        )
        .properties(width=WIDTH, height=280, title=f"{metric.title}: the lowest so far in the search of each arm")
    )


def _spread_over_trials(curves: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Median, lowest and highest value over trials by epoch, at no more epochs than a page can show."""
    every = max(1, -(-(curves.select(pl.max("epoch")).item() or 0) // _MOST_EPOCHS))
    return (
        curves.filter(pl.col("epoch") % every == 0, pl.col("value").is_finite())
        .group_by(*by, "epoch")
        .agg(median=pl.col("value").median(), lowest=pl.col("value").min(), highest=pl.col("value").max())
        .with_columns(told=pl.col("arm"))
        .sort(*by, "epoch")
    )


def _band(base: alt.Chart, metric: MetricLabel, values: Sequence[float]) -> alt.LayerChart:
    y = alt.Y("median:Q", **axis(values, metric.axis))
    band = base.mark_area(opacity=0.14).encode(y=alt.Y("lowest:Q", title=metric.axis), y2="highest:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, description="told:N")
    return alt.layer(band, line)
