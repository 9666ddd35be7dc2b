"""The figures of a report, each with the caption that a reader needs; those that the records so far allow."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import altair as alt
import polars as pl
from markupsafe import Markup

from tesseral.analysis.figures import curve_charts as curve_figures
from tesseral.analysis.figures import error_charts as figures
from tesseral.analysis.figures import order_charts as order_figures
from tesseral.analysis.figures.axes import in_panels
from tesseral.analysis.figures.svg import render
from tesseral.analysis.statistics import features as hierarchy
from tesseral.analysis.statistics.arms import Row, rows
from tesseral.analysis.statistics.fit_floor import floor_line, floor_note
from tesseral.analysis.statistics.order_trend import trend_sentences, trends
from tesseral.analysis.statistics.orders import benefit
from tesseral.analysis.statistics.paired import trial_errors
from tesseral.analysis.tables.learning_curves import learning
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import best_so_far
from tesseral.analysis.terms.wording import describe

_BY_ORDER = ("block_error", "relative_error")
"""Metrics that are recorded by order; the first one that a target has is drawn."""


@dataclass(frozen=True)
class Section:
    """The figures of one group of arms, or of the whole study."""

    title: str
    """Of a group; empty in a study of one."""
    figures: list["Figure"]


def by_group(tables: StudyTables, make: Callable[[StudyTables], Iterable["Figure"]]) -> list[Section]:
    """The figures that `make` gives of each group alone; in a study of several, their names end in the group's."""
    sections = []
    for number, part in enumerate(tables.by_group(), start=1):
        several, (group, *_) = part is not tables, part.study.groups
        made = [replace(figure, name=f"{figure.name}-{number}") if several else figure for figure in make(part)]
        if made:
            sections.append(Section(group.title if several else "", made))
    return sections


@dataclass(frozen=True)
class Figure:
    """A chart with what a reader needs to read it."""

    name: str
    """Unique in the report, fit for a file name."""
    chart: alt.TopLevelMixin
    caption: str

    @cached_property
    def svg(self) -> Markup:
        """The chart for a page or a file; its ids begin with `name`."""
        return Markup(render(self.chart, self.name))  # noqa: S704 - made by Vega, which escapes what it is given

    @property
    def data_url(self) -> str:
        """The chart as a link that holds it whole."""
        return "data:image/svg+xml;base64," + b64encode(self.svg.encode()).decode()


def error_figures(tables: StudyTables) -> Iterator[Figure]:
    """Figures of errors and their cost in a study of one target, those that the complete trials so far allow."""
    study, metric = tables.study, describe(tables.study.metric, tables.study.target)
    summary, floor = rows(tables), floor_line(tables.study)
    against = floor_note(study)
    line = against if floor is None else " Dashed: the density fit’s own ε against the self-consistent density."
    measured = trial_errors(tables.trials, study.metric)
    if measured.height:
        yield Figure(
            "error-by-arm",
            figures.error_by_arm(measured, [row.error for row in summary], metric, floor),
            "Each point is a trial; a line joins trials of one block and replicate, which share their data and "
            f"their seeds. Diamonds are means, bars 95 % intervals.{line}",
        )
    comparisons = [
        row.comparison for row in summary if row.comparison is not None and row.comparison.change is not None
    ]
    if comparisons:
        yield Figure(
            "change-by-arm",
            figures.change_by_arm(comparisons, study.arms, metric),
            f"From the ratio of the errors of each pair; below zero, the arm is better than {study.baseline}. "
            "Bars are 95 % intervals of each comparison alone.",
        )
    for name in ("test.block_error", "test.relative_error"):
        outputs = hierarchy.output_errors(tables.trials, name, study.arms, study.most_blocks)
        if outputs.filter(pl.col("error") > 0).height:
            yield Figure(
                "error-by-order",
                order_figures.error_by_order(outputs, study.arms, describe(name, study.target)),
                f"Means over trials with 95 % intervals, on a logarithmic axis.{against}",
            )
            break
    if measured.height:
        yield Figure(
            "error-against-cost",
            figures.error_against_cost(_costs(summary), study.arms, metric, floor),
            f"Means over trials with 95 % intervals; the time is the median over trials.{line}",
        )


def benefit_figures(tables: StudyTables) -> Iterator[Figure]:
    """The figure of what hidden features change for each order, where several orders are predicted."""
    found = benefit(tables)
    tested = "is tested by its trend, at the top" if trend_sentences(trends(tables)) else "is not tested"
    if found.select("l", "target").n_unique() > 1:
        yield Figure(
            "benefit-by-order",
            order_figures.benefit_by_order(found),
            "From the ratio of the relative errors of each pair; below zero, the arm is better than the baseline of "
            "its group, which differs from it in its hidden features alone. Bars are 95 % intervals, each for itself: "
            f"whether the benefit depends on the order {tested}.",
        )


def error_curves(tables: StudyTables) -> pl.DataFrame:
    """The curves that `learning_figures` draws, finite values alone; see `learning`."""
    curves = learning(tables.curves, tables.trials, [*_drawn(tables.study.metric), *_BY_ORDER])
    return curves.filter(pl.col("value").is_finite())


def _drawn(metric: str) -> list[str]:
    # ε needs a grid and is not measured in every epoch: the nearest that is stands in for it.
    return [metric.partition(".")[2], "l2_error", "loss"]


def learning_figures(tables: StudyTables, curves: pl.DataFrame) -> Iterator[Figure]:
    """Figures of errors during training in a study of one target.

    :param curves: of `error_curves`; those of arms that the study does not have are not drawn.
    """
    study = tables.study
    own = curves.filter(pl.col("arm").is_in(list(study.arms)))
    whole = own.filter(pl.col("l").is_null())
    name = next((name for name in _drawn(study.metric) if name in whole["metric"]), None)
    if name is not None:
        shown = whole.filter(pl.col("metric") == name)
        yield Figure(
            "learning",
            curve_figures.learning_curves(shown, study.arms, describe(f"{shown['split'][0]}.{name}", study.target)),
            f"Median over trials, in a band from the lowest to the highest.{floor_note(study)}",
        )
    for name in _BY_ORDER:
        shown = own.filter(pl.col("metric") == name, pl.col("l").is_not_null(), pl.col("value") > 0)
        if shown.height:
            yield Figure(
                "learning-by-order",
                curve_figures.learning_by_order(
                    shown, study.arms, describe(f"{shown['split'][0]}.{name}", study.target)
                ),
                f"Median over trials, in a band from the lowest to the highest.{floor_note(study)}",
            )
            break


def feature_figures(tables: StudyTables, features: pl.DataFrame) -> Iterator[Figure]:
    """Hidden features by order over training, a few arms in each figure.

    :param features: of `hierarchy.features`.
    """
    means = hierarchy.mean_features(features)
    arms = [arm for arm in tables.study.arms if arm in set(means["arm"])]
    for number, part in enumerate(in_panels(arms), start=1):
        yield Figure(
            f"features-{number}",
            curve_figures.features_by_order(means, part),
            "Means over the complete trials of an arm; parities are added. The shares of a layer sum to one.",
        )


def search_figures(tables: StudyTables) -> Iterator[Figure]:
    """The figure of the search of a study of one target, if there is one and a trial of it is complete."""
    study = tables.study
    if not study.objectives:
        return
    steps = best_so_far(tables.trials, tables.search, study.objectives[0])
    if steps.height:
        yield Figure(
            "search",
            curve_figures.best_by_proposal(steps, study.arms, describe(study.objectives[0], study.target)),
            "The lowest validation error of the first n distinct proposals of each arm: equal lengths are equal "
            "budgets. Trials that were stopped early or failed count as proposals, not in the error.",
        )


def _costs(summary: list[Row]) -> pl.DataFrame:
    rows_ = []
    for row in summary:
        error = row.error.error
        bounds = (error.value, error.low, error.high) if error else (None, None, None)
        rows_.append((row.arm, row.parameters, row.seconds, *bounds))
    kinds = {"arm": pl.String, "parameters": pl.Int64} | dict.fromkeys(("seconds", "error", "low", "high"), pl.Float64)
    return pl.DataFrame(rows_, schema=kinds, orient="row")
