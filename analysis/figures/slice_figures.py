"""The figure of the slices of a search: the error of the proposals against each hyperparameter."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, axis
from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.figures.svg import INK
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.metric_label import MetricLabel, describe
from tesseral.study.design.labels import short_names

_BESIDE = 2
"""Hyperparameters side by side."""


def slice_figures(tables: StudyTables, slices: pl.DataFrame) -> Iterator[Figure]:
    """The slices of the searches, if a hyperparameter differs between complete proposals.

    :param tables: of the study, or of one group of its arms.
    :param slices: from `slices.slices`; arms that the study does not have are ignored.
    """
    study = tables.study
    own = slices.filter(pl.col("arm").is_in(list(study.arms)))
    if own.is_empty():
        return
    yield Figure(
        "slices",
        error_by_setting(own, study.arms, describe(study.objectives[0], study.target)),
        "Each disc is a complete proposal: its validation error against the value of one hyperparameter, while all "
        "others vary too. Diamonds are the proposals that searches chose. Those that failed or were stopped early are "
        "left out. A sampler that learns proposes more where errors were low, so many points do not make a value good.",
    )


def error_by_setting(slices: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.VConcatChart:
    """A panel for each hyperparameter, on one axis of errors.

    :param slices: from `slices.slices`; at least one row.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the search's first objective.
    """
    paths = slices["path"].unique(maintain_order=True).to_list()
    names, errors = short_names(paths), slices["error"].to_list()
    width = WIDTH if len(paths) == 1 else WIDTH / _BESIDE - 35
    panels = []
    for path in paths:
        rows = slices.filter(pl.col("path") == path).with_columns(
            tooltip=pl.format("{}, {} {}: {}", "arm", pl.lit(names[path]), "label", pl.col("error").round_sig_figs(3))
        )
        if rows["value"].null_count():
            x = alt.X("label:N", title=names[path], axis=alt.Axis(labelAngle=0, labelOverlap=True))
        else:
            x = alt.X("value:Q", **axis(rows["value"].to_list(), names[path], count=4))
        base = alt.Chart(rows).encode(
            x=x, y=alt.Y("error:Q", **axis(errors, metric.axis)), color=arm_colour(arms), description="tooltip:N"
        )
        made = base.transform_filter("!datum.chosen").mark_circle(size=36, opacity=0.65)
        chosen = base.transform_filter("datum.chosen").mark_point(
            shape="diamond", filled=True, size=120, opacity=1, stroke=INK, strokeWidth=1
        )
        panels.append(alt.layer(made, chosen).properties(width=width, height=220))
    beside = [panels[start : start + _BESIDE] for start in range(0, len(panels), _BESIDE)]
    return alt.vconcat(*(alt.hconcat(*row, spacing=30) for row in beside), spacing=24).properties(
        title=f"{metric.title} by setting"
    )
