"""The figure of the change against the baseline during training."""

from collections.abc import Iterator

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour
from tesseral.analysis.figures.figure import Figure, about_intervals
from tesseral.analysis.figures.svg import MUTED
from tesseral.analysis.statistics.comparisons.epochs import epoch_sentences
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.wording import count


def epoch_figures(tables: StudyTables, changes: pl.DataFrame) -> Iterator[Figure]:
    """The change against the baseline by epoch, if an arm has several epochs.

    :param tables: of the study, or of one group of its arms.
    :param changes: from `epochs.epoch_changes`; arms that the study does not have are ignored.
    """
    study = tables.study
    own = changes.filter(pl.col("arm").is_in(list(study.arms)))
    if own["epoch"].n_unique() < 2:
        return
    metric = describe(f"{own['split'][0]}.{own['metric'][0]}", study.target)
    told = " ".join(epoch_sentences(own)) if study.sampling.for_new_data else ""
    bands = about_intervals(own["low"], f"Bands are 95 % intervals {study.sampling.shown}, each epoch by itself.")
    where = f"the {metric.split} split"
    if study.densities and own["metric"][0] == study.metric.partition(".")[2]:
        where = f"{count(study.densities, 'structure')} of {where}, or on all if it has fewer,"
    yield Figure(
        "change-by-epoch",
        change_by_epoch(own, study.arms, f"{metric.name}: change, %"),
        f"Paired change of {metric.noun} on {where} against the baseline, as if training had stopped "
        f"at an epoch of this one schedule; verdicts rest on the end of training alone. {bands} {told}".rstrip(),
    )


def change_by_epoch(changes: pl.DataFrame, arms: tuple[str, ...], title: str) -> alt.LayerChart:
    """A line for each arm in the band of its intervals, and a line at no change.

    :param changes: arm, epoch, change, low, high.
    :param arms: labels in the study's order, which decides their colours.
    :param title: of the vertical axis.
    """
    y = alt.Y("change:Q", title=title, scale=alt.Scale(zero=True, padding=12))
    base = alt.Chart(changes.with_columns(tooltip=pl.col("arm"))).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)), color=arm_colour(arms)
    )
    none = alt.Chart(pl.DataFrame({"change": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=y)
    band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.14)
    band = band.encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, description="tooltip:N")
    return alt.layer(none, band, line).properties(width=WIDTH, height=280, title="Change against the baseline by epoch")
