"""Figures of what changes with time: errors and features over epochs, the best error of a search over proposals."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, arm_columns, axis, in_panels, order_scale
from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.statistics.features.features import mean_features
from tesseral.analysis.statistics.fit_floor import floor_note
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.tables.learning_curves import BY_ORDER, curve_metrics
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import best_so_far
from tesseral.analysis.terms.metric_label import MetricLabel, describe

_MOST_EPOCHS = 150
"""Most points of a learning curve in a page."""


def learning_figures(tables: StudyTables, curves: pl.DataFrame) -> Iterator[Figure]:
    """Errors during training in a study of one target.

    :param tables: of the study, or of one group of its arms.
    :param curves: from `tables.learning_curves.learning_curves`; arms that the study does not have are ignored.
    """
    study = tables.study
    caption = f"The line is the median over trials; the band spans from the lowest to the highest.{floor_note(study)}"
    own = curves.filter(pl.col("arm").is_in(list(study.arms)))
    whole = own.filter(pl.col("l").is_null())
    name = next((name for name in curve_metrics(study.metric) if name in whole["metric"]), None)
    if name is not None:
        shown = whole.filter(pl.col("metric") == name)
        metric = describe(f"{shown['split'][0]}.{name}", study.target)
        yield Figure("learning", error_during_training(shown, study.arms, metric), caption)
    for name in BY_ORDER:
        shown = own.filter(pl.col("metric") == name, pl.col("l").is_not_null(), pl.col("value") > 0)
        if shown.height:
            metric = describe(f"{shown['split'][0]}.{name}", study.target)
            yield Figure("learning-by-order", errors_by_order_during_training(shown, study.arms, metric), caption)
            break


def feature_figures(results: Results) -> Iterator[Figure]:
    """Hidden features by order during training, a few arms in each figure."""
    means = mean_features(results.layers.features)
    arms = [arm for arm in results.study.arms if arm in set(means["arm"])]
    for number, part in enumerate(in_panels(arms), start=1):
        yield Figure(
            f"features-{number}",
            features_by_order(means, part),
            "The share of an order is the squared norm of its features (both parities), divided by that of all "
            "features of the layer. The shares of a layer sum to one. Lines are means over the complete trials of an "
            "arm.",
        )


def search_figures(tables: StudyTables) -> Iterator[Figure]:
    """The lowest error of each search against its proposals, if a trial of a search is complete."""
    study = tables.study
    if not study.objectives:
        return
    steps = best_so_far(tables.trials, tables.search, study.objectives[0])
    if steps.height:
        yield Figure(
            "search",
            best_by_proposal(steps, study.arms, describe(study.objectives[0], study.target)),
            f"Lowest validation error among the first n distinct proposals of each {_searched(study.searches)}. Lines "
            "of equal length mean equal budgets. Trials that failed or were stopped early count as proposals; their "
            "errors are left out.",
        )


def error_during_training(curves: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The median over trials by epoch, in a band from the lowest to the highest.

    :param curves: arm, epoch, value; one row for each trial and epoch.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the metric that is drawn.
    """
    base = alt.Chart(_spread_over_trials(curves, ["arm"])).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)), color=arm_colour(arms)
    )
    return _band(base, metric, curves["value"].to_list()).properties(
        width=WIDTH, height=280, title=f"{metric.title} during training"
    )


def errors_by_order_during_training(curves: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.FacetChart:
    """`error_during_training` for each output order side by side, on one axis.

    :param curves: arm, epoch, l, value; one row for each trial, epoch and order.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the metric that is drawn.
    """
    orders = curves["l"].n_unique()
    base = alt.Chart(_spread_over_trials(curves, ["arm", "l"])).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3, tickMinStep=1)), color=arm_colour(arms)
    )
    chart = _band(base, metric, curves["value"].to_list()).properties(width=max(90, WIDTH / orders - 12), height=200)
    return chart.facet(
        column=alt.Column("l:O", title=None, header=alt.Header(labelExpr="'l = ' + datum.value")), spacing=12
    ).properties(title=f"{metric.title} of each output order during training")


def features_by_order(features: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """The share of each order in a layer's squared norm over epochs, one panel for each of `arms` and each layer.

    :param features: from `features.mean_features`; colours and axes are those of all its arms.
    """
    positive = features.filter(pl.col("share") > 0)
    rows = positive.filter(pl.col("arm").is_in(list(arms))).with_columns(
        tooltip=pl.format("{}, layer {}, l = {}", "arm", "layer", "l")
    )
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3, tickMinStep=1)),
            y=alt.Y("share:Q", **axis(positive["share"].to_list(), "share")),
            color=alt.Color("l:O", title="order l of the feature", scale=order_scale(sorted(features["l"].unique()))),
            description="tooltip:N",
        )
        .properties(width=max(90, WIDTH / len(arms) - 12), height=120)
    )
    return lines.facet(
        column=arm_columns(arms),
        row=alt.Row("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        spacing=12,
    ).properties(title="Share of each order in a layer's squared norm")


def best_by_proposal(steps: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.Chart:
    """The lowest validation error so far against the number of proposals, a staircase for each search of an arm.

    :param steps: from `tables.search.best_so_far`.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the search's first objective.
    """
    number = pl.format("{}, search {}", "arm", "repeat")
    rows = steps.with_columns(tooltip=number if steps["repeat"].max() else pl.col("arm"))
    x = alt.X("n:Q", title="distinct proposals", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(domainMin=0))
    return (
        alt.Chart(rows)
        .mark_line(strokeWidth=2, interpolate="step-after", point=alt.OverlayMarkDef(size=22))
        .encode(
            x=x,
            y=alt.Y("value:Q", **axis(rows["value"].to_list(), metric.axis)),
            color=arm_colour(arms),
            detail="repeat:N",
            description="tooltip:N",
        )
        .properties(width=WIDTH, height=280, title=f"{metric.title}: the lowest so far in each search")
    )


def _searched(repeats: int) -> str:
    return f"search, of which every arm has {repeats}" if repeats > 1 else "arm"


def _spread_over_trials(curves: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Median, lowest and highest value over trials by epoch, at no more than `_MOST_EPOCHS` epochs."""
    every = max(1, -(-(curves.select(pl.max("epoch")).item() or 0) // _MOST_EPOCHS))
    return (
        curves.filter(pl.col("epoch") % every == 0, pl.col("value").is_finite())
        .group_by(*by, "epoch")
        .agg(median=pl.col("value").median(), lowest=pl.col("value").min(), highest=pl.col("value").max())
        .with_columns(tooltip=pl.col("arm"))
        .sort(*by, "epoch")
    )


def _band(base: alt.Chart, metric: MetricLabel, values: Sequence[float]) -> alt.LayerChart:
    """A line of medians in a band from the lowest to the highest.

    :param base: of the frame from `_spread_over_trials`.
    :param values: of single trials, which decide the axis.
    """
    y = alt.Y("median:Q", **axis(values, metric.axis))
    band = base.mark_area(opacity=0.14).encode(y=alt.Y("lowest:Q", title=metric.axis), y2="highest:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, description="tooltip:N")
    return alt.layer(band, line)
