"""The figure of the error against the size of the training set."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, log_axis
from tesseral.analysis.figures.figure import Figure, about_intervals
from tesseral.analysis.statistics.comparisons.scaling import SizeCurve
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import AGGREGATES, interval
from tesseral.analysis.terms.metric_label import MetricLabel, describe

_APART = 5  # distance of the curves' bars at one size, px


def size_figures(study: StudyInfo, curves: Sequence[SizeCurve]) -> Iterator[Figure]:
    """The curves of each target with their power laws.

    :param curves: from `scaling.size_curves`.
    """
    targets = list(dict.fromkeys(study.target_of(arm) for curve in curves for arm in curve.arms.values()))
    for number, target in enumerate(targets, start=1):
        own = [curve for curve in curves if target in {study.target_of(arm) for arm in curve.arms.values()}]
        yield Figure(
            f"error-by-size-{number}" if len(targets) > 1 else "error-by-size",
            error_by_size(own, describe(study.metric, target)),
            f"Diamonds are geometric {AGGREGATES[study.aggregate]}s over the places (block, replicate) that are "
            "complete at every size. "
            + about_intervals(
                [error.shown[0] for curve in own for error in curve.errors.values()],
                f"Bars, drawn side by side, and brackets after α are 95 % intervals {study.sampling.shown}.",
            )
            + " Lines are the fitted power laws, error ∝ N^−α; the legend gives α. Both axes are logarithmic, so that "
            "a power law is a straight line.",
        )


def error_by_size(curves: Sequence[SizeCurve], metric: MetricLabel) -> alt.LayerChart:
    """Errors and the fitted power law of each curve, on logarithmic axes.

    :param curves: at least one; their names with exponents are the legend.
    :param metric: the metric that is drawn.
    """
    named = [f"{'' if curve.name == 'all' else f'{curve.name}: '}α = {interval(curve.exponent)}" for curve in curves]
    sizes = sorted({size for curve in curves for size in curve.arms})
    points = pl.DataFrame(
        [
            (label, size, error.value, *error.shown, f"{arm}: {interval(error, metric.unit)}")
            for label, curve in zip(named, curves, strict=True)
            for (size, arm), error in zip(curve.arms.items(), curve.errors.values(), strict=True)
        ],
        schema={"arm": pl.String, "size": pl.Int64}
        | dict.fromkeys(("error", "low", "high"), pl.Float64)
        | {"tooltip": pl.String},
        orient="row",
    )
    ends = pl.DataFrame(
        [
            (label, size, curve.fitted(size), label)
            for label, curve in zip(named, curves, strict=True)
            for size in (min(curve.arms), max(curve.arms))
        ],
        schema={"arm": pl.String, "size": pl.Int64, "error": pl.Float64, "tooltip": pl.String},
        orient="row",
    )
    drawn = [*points["error"], *points["low"].drop_nulls(), *points["high"].drop_nulls(), *ends["error"]]
    x = alt.X("size:Q", **log_axis(sizes, "structures in the training set", sizes))
    y = alt.Y("error:Q", **log_axis(drawn, metric.axis))
    colour = arm_colour(named)
    layers: list[alt.Chart] = [
        alt.Chart(ends).mark_line(strokeWidth=1.5, opacity=0.7).encode(x=x, y=y, color=colour, description="tooltip:N")
    ]
    for number, label in enumerate(named):
        base = alt.Chart(points.filter(pl.col("arm") == label)).encode(
            x=x, xOffset=alt.value(_APART * (number - (len(named) - 1) / 2)), color=colour, description="tooltip:N"
        )
        bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
        layers.append(bars.encode(y=alt.Y("low:Q", title=metric.axis), y2="high:Q"))
        layers.append(base.mark_point(shape="diamond", filled=True, size=90, opacity=1).encode(y=y))
    return alt.layer(*layers).properties(width=WIDTH, height=300, title=f"{metric.title} by size of the training set")
