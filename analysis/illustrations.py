"""The figures of a report, each with the caption that a reader needs; those that the records so far allow."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import altair as alt
import polars as pl
from markupsafe import Markup

from tesseral.analysis import figures, hierarchy
from tesseral.analysis.learning import learning
from tesseral.analysis.load import StudyTables
from tesseral.analysis.search import best_so_far
from tesseral.analysis.statistics import errors
from tesseral.analysis.summary import Row, rows
from tesseral.analysis.svg import render
from tesseral.analysis.wording import describe

_PANELS = 4
"""Arms side by side in a chart with a panel for each."""


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
    """Figures of errors and their cost, those that the complete trials so far allow."""
    study, metric = tables.study, describe(tables.study.metric)
    summary = rows(tables)
    measured = errors(tables.trials, study.metric)
    if measured.height:
        yield Figure(
            "error-by-arm",
            figures.error_by_arm(measured, [row.error for row in summary], metric),
            "Each point is a trial; a line joins trials of one block and replicate, which share their data and "
            "their seeds. Diamonds are means, bars 95 % intervals.",
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
    outputs = hierarchy.output_errors(tables.trials, "test.block_error", study.arms, study.most_blocks)
    if outputs.height:
        yield Figure(
            "error-by-order",
            figures.error_by_order(outputs, study.arms, describe("test.block_error")),
            "Means over trials with 95 % intervals, on a logarithmic axis.",
        )
    if measured.height:
        yield Figure(
            "error-against-cost",
            figures.error_against_cost(_costs(summary), study.arms, metric),
            "Means over trials with 95 % intervals; the time is the median over trials.",
        )


def error_curves(tables: StudyTables) -> pl.DataFrame:
    """The curves that `learning_figures` draws, finite values alone; see `learning`."""
    curves = learning(tables.curves, tables.trials, [*_drawn(tables.study.metric), "block_error"])
    return curves.filter(pl.col("value").is_finite())


def _drawn(metric: str) -> list[str]:
    # ε needs a grid and is not measured in every epoch: the nearest that is stands in for it.
    return [metric.partition(".")[2], "l2_error", "loss"]


def learning_figures(tables: StudyTables, curves: pl.DataFrame) -> Iterator[Figure]:
    """Figures of errors during training.

    :param curves: of `error_curves`.
    """
    name = next((name for name in _drawn(tables.study.metric) if name in curves["metric"]), None)
    if name is not None:
        whole = curves.filter(pl.col("metric") == name)
        yield Figure(
            "learning",
            figures.learning_curves(whole, tables.study.arms, describe(f"{whole['split'][0]}.{name}")),
            "Median over trials, in a band from the lowest to the highest.",
        )
    by_order = curves.filter(pl.col("metric") == "block_error", pl.col("value") > 0)
    if by_order.height:
        yield Figure(
            "learning-by-order",
            figures.learning_by_order(by_order, tables.study.arms, describe(f"{by_order['split'][0]}.block_error")),
            "Median over trials, in a band from the lowest to the highest.",
        )


def feature_figures(tables: StudyTables, features: pl.DataFrame) -> Iterator[Figure]:
    """Hidden features by order over training, a few arms in each figure.

    :param features: of `hierarchy.features`.
    """
    means = hierarchy.mean_features(features)
    arms = [arm for arm in tables.study.arms if arm in set(means["arm"])]
    for start in range(0, len(arms), _PANELS):
        part = arms[start : start + _PANELS]
        yield Figure(
            f"features-{start // _PANELS + 1}",
            figures.features_by_order(means, part),
            "Means over the complete trials of an arm; parities are added. The shares of a layer sum to one.",
        )


def search_figures(tables: StudyTables) -> Iterator[Figure]:
    """The figure of the search, if there is one and a trial of it is complete."""
    study = tables.study
    if not study.objectives:
        return
    steps = best_so_far(tables.trials, tables.search, study.objectives[0])
    if steps.height:
        yield Figure(
            "search",
            figures.best_by_proposal(steps, study.arms, describe(study.objectives[0])),
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
