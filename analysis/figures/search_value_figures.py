"""The figure of the lowest validation error to expect of a number of proposals."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, axis
from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.statistics.searches.search_value import order_sentence
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.metric_label import MetricLabel, describe


def search_value_figures(tables: StudyTables, values: pl.DataFrame) -> Iterator[Figure]:
    """The lowest error to expect of n proposals, if a search made several.

    :param tables: of the study, or of one group of its arms.
    :param values: from `search_value.search_values`; arms that the study does not have are ignored.
    """
    study = tables.study
    own = values.filter(pl.col("arm").is_in(list(study.arms)))
    if own.is_empty() or own["n"].n_unique() < 2:
        return
    told = order_sentence(own, study.arms)
    yield Figure(
        "search-value",
        best_of_proposals(own, study.arms, describe(study.objectives[0], study.target)),
        "The mean lowest validation error of n proposals drawn from those of one search, in a band from the 10 % to "
        "the 90 % quantile, both averaged over the searches of an arm. The band is of single searches of n "
        "proposals, no interval of the mean. "
        f"Proposals that failed or were stopped early are never the lowest. {told}".rstrip(),
    )


def best_of_proposals(values: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The mean of the lowest error against the number of proposals, in a band of its quantiles.

    :param values: arm, n, expected, low, high.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the search's first objective.
    """
    bounds = [*values["low"], *values["high"]]
    y = alt.Y("expected:Q", **axis(bounds, metric.axis))
    base = alt.Chart(values.with_columns(tooltip=pl.col("arm"))).encode(
        x=alt.X("n:Q", title="distinct proposals", axis=alt.Axis(tickMinStep=1)), color=arm_colour(arms)
    )
    band = base.mark_area(opacity=0.14).encode(y=alt.Y("low:Q", title=metric.axis), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, description="tooltip:N")
    return alt.layer(band, line).properties(
        width=WIDTH, height=280, title=f"{metric.title}: the lowest to expect of n proposals"
    )
