"""Figures of errors by arm: every trial, the paired changes, the errors by order, and the error against its cost."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_colour, axis
from tesseral.analysis.figures.figure import Figure, about_intervals
from tesseral.analysis.figures.order_figures import error_by_order
from tesseral.analysis.figures.svg import INK, MUTED
from tesseral.analysis.statistics.arms import ArmSummary
from tesseral.analysis.statistics.comparisons.paired import ArmError, Comparison, trial_errors
from tesseral.analysis.statistics.fit_floor import floor_line, floor_note
from tesseral.analysis.statistics.orders.orders import output_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import AGGREGATES, Estimate, interval
from tesseral.analysis.terms.metric_label import MetricLabel, describe

_ROW = 46  # height of an arm's row, px


def error_figures(tables: StudyTables, arms: Iterable[ArmSummary]) -> Iterator[Figure]:
    """Errors and their cost in a study of one target, as far as complete trials allow.

    :param tables: of the study, or of one group of its arms.
    :param arms: from `arms.summarise_arms`; those that the study does not have are ignored.
    """
    study, metric = tables.study, describe(tables.study.metric, tables.study.target)
    summaries = [summary for summary in arms if summary.arm in study.arms]
    floor, note = floor_line(study, study.metric), floor_note(study)
    holds, means = study.sampling.shown, f"{AGGREGATES[study.aggregate]}s"
    line = note if floor is None else " Dashed: the fit floor, ε of the fitted density against the SCF density."
    measured = trial_errors(tables.trials, study.metric)
    lows = [summary.error.error.shown[0] for summary in summaries if summary.error.error]
    if measured.height:
        yield Figure(
            "error-by-arm",
            error_by_arm(measured, [summary.error for summary in summaries], metric, floor),
            "Each point is a trial. A line joins the trials of one block and replicate, which share data and seeds. "
            f"Diamonds are {means}. {about_intervals(lows, f'Bars are their 95 % intervals {holds}.')}{line}",
        )
    comparisons = [
        summary.comparison
        for summary in summaries
        if summary.comparison is not None and summary.comparison.change is not None
    ]
    if comparisons:
        yield Figure(
            "change-by-arm",
            change_by_arm(comparisons, study.arms, metric),
            f"The change is the geometric {AGGREGATES[study.aggregate]} of the ratios of paired errors, minus one. "
            f"Below zero, the arm has a lower error than {study.baseline}. "
            + about_intervals(
                [each.change.shown[0] for each in comparisons if each.change],
                f"Bars are 95 % intervals {holds}, not corrected for multiple comparisons.",
            ),
        )
    for name in ("test.block_error", "test.relative_error"):
        outputs = output_errors(tables.trials, name, study.arms, study.sampling)
        if outputs.filter(pl.col("error") > 0).height:
            yield Figure(
                "error-by-order",
                error_by_order(outputs, study.arms, describe(name, study.target)),
                f"{means.capitalize()} over trials, on a logarithmic axis. "
                f"{about_intervals(outputs['low'], f'Bars are 95 % intervals {holds}.')}{note}",
            )
            break
    if measured.height:
        yield Figure(
            "error-against-cost",
            error_against_cost(_costs(summaries), study.arms, metric, floor),
            f"{means.capitalize()} over trials against the number of parameters (left) and the median training time "
            f"of a trial (right). {about_intervals(lows, f'Vertical bars are 95 % intervals {holds}.')}"
            f"{_varied(summaries)}{line}",
        )


def error_by_arm(
    errors: pl.DataFrame, summaries: Sequence[ArmError], metric: MetricLabel, floor: float | None = None
) -> alt.LayerChart:
    """Each trial's error as a point, pairs joined by a line, with the mean and interval of each arm.

    :param errors: from `paired.trial_errors`.
    :param summaries: mean errors of the arms.
    :param floor: the fit floor in percent, drawn as a dashed line.
    """
    arms = [summary.arm for summary in summaries]
    points = errors.with_columns(
        place=pl.col("arm").replace_strict(arms, range(len(arms)), return_dtype=pl.Int64),
        pair=pl.format("{}/{}", "block", "replicate"),
        tooltip=pl.format("{}: block {}, replicate {}", "arm", "block", "replicate")
        + pl.col("error").map_elements(lambda v: f": {v:.4g} {metric.unit}".rstrip(), return_dtype=pl.String),
    )
    means = _estimates([(s.arm, s.error) for s in summaries], metric.unit)
    bounds = [*errors["error"], *means["low"].drop_nulls(), *means["high"].drop_nulls(), *_known(floor)]
    x = alt.X("error:Q", **axis(bounds, metric.axis))
    y = alt.Y("arm:N", sort=arms, title=None, axis=alt.Axis(grid=True, domain=False, ticks=False))
    base = alt.Chart(points).encode(x=x, y=y)
    lines = base.mark_line(color=MUTED, opacity=0.35, strokeWidth=1).encode(detail="pair:N", order="place:Q")
    dots = base.mark_circle(size=44, opacity=0.75).encode(color=arm_colour(arms, legend=False), description="tooltip:N")
    # Means are drawn beside their points, not on top of them.
    beside = {"y": y, "yOffset": alt.value(_ROW / 2 - 13), "description": "tooltip:N"}
    rule = alt.Chart(means.drop_nulls("low")).mark_rule(color=INK, strokeWidth=2)
    mean = alt.Chart(means).mark_point(shape="diamond", filled=True, size=90, color=INK, opacity=1)
    rule = rule.encode(x=alt.X("low:Q", title=metric.axis), x2="high:Q", **beside)
    mean = mean.encode(x=alt.X("value:Q", title=metric.axis), **beside)
    return alt.layer(lines, *_floor(floor, "x", metric), rule, mean, dots).properties(
        width=WIDTH, height=_ROW * len(arms), title=f"{metric.title} by arm"
    )


def change_by_arm(comparisons: Sequence[Comparison], arms: Sequence[str], metric: MetricLabel) -> alt.LayerChart:
    """The relative change against the baseline with its interval, and a line at zero.

    :param comparisons: from `paired.compare_arms`, with one baseline; those without a change are left out.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the metric that is drawn.
    """
    table = _estimates([(c.arm, c.change) for c in comparisons], "%", signed=True)
    compared = table["arm"].to_list()
    title = f"change of {metric.noun}, %"
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=True, padding=12), axis=alt.Axis(tickCount=9))
    y = alt.Y("arm:N", sort=compared, title=None, axis=alt.Axis(domain=False, ticks=False))
    encoding = {"y": y, "color": arm_colour(arms, legend=False), "description": "tooltip:N"}
    none = alt.Chart(pl.DataFrame({"value": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
    rule = alt.Chart(table.drop_nulls("low")).mark_rule(strokeWidth=2.5)
    rule = rule.encode(x=alt.X("low:Q", title=title), x2="high:Q", **encoding)
    point = alt.Chart(table).mark_point(shape="diamond", filled=True, size=110, opacity=1).encode(x=x, **encoding)
    return alt.layer(none, rule, point).properties(
        width=WIDTH,
        height=(_ROW - 10) * len(compared),
        title=f"{metric.title}: change against {comparisons[0].baseline}",
    )


def error_against_cost(
    costs: pl.DataFrame, arms: Sequence[str], metric: MetricLabel, floor: float | None = None
) -> alt.HConcatChart:
    """Mean error with its interval against parameters and against training time.

    :param costs: arm, parameters, fewest and most (where searches chose different numbers, else null), seconds, error,
        low, high; the last three in the metric's unit.
    :param arms: labels in the study's order, which decides their colours.
    :param metric: the metric that is drawn.
    :param floor: the fit floor in percent, drawn as a dashed line.
    """
    rows = costs.drop_nulls(["error", "parameters", "seconds"]).with_columns(
        tooltip=pl.format("{}: {} parameters, {} s", "arm", "parameters", pl.col("seconds").round(1))
    )
    bounds = [*rows["error"], *rows["low"].drop_nulls(), *rows["high"].drop_nulls(), *_known(floor)]
    y = alt.Y("error:Q", **axis(bounds, metric.axis))
    panels = []
    for column, title in (("parameters", "parameters"), ("seconds", "training time of a trial (s)")):
        spans = rows.filter(column == "parameters").drop_nulls("fewest")
        reached = [*rows[column], *spans["fewest"], *spans["most"]]
        x = alt.X(f"{column}:Q", **axis(reached, title, count=4, number_format="~s"))
        base = alt.Chart(rows).encode(x=x, color=arm_colour(arms), description="tooltip:N")
        bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
        bars = bars.encode(y=alt.Y("low:Q", title=metric.axis), y2="high:Q")
        points = base.mark_point(shape="diamond", filled=True, size=110, opacity=1).encode(y=y)
        layers = [*_floor(floor, "y", metric), bars, points]
        if spans.height:
            wide = alt.Chart(spans).mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=y, color=arm_colour(arms))
            layers.append(wide.encode(x=alt.X("fewest:Q", title=title), x2="most:Q"))
        panels.append(alt.layer(*layers).properties(width=WIDTH / 2 - 35, height=240))
    return alt.hconcat(*panels, spacing=30).properties(title=f"{metric.title} against its cost")


def _varied(summaries: Sequence[ArmSummary]) -> str:
    if not any("parameters" in summary.spans for summary in summaries):
        return ""
    return " Horizontal bars reach from the smallest to the largest network that an arm’s searches chose."


def _known(floor: float | None) -> list[float]:
    return [] if floor is None else [floor]


def _floor(value: float | None, along: Literal["x", "y"], metric: MetricLabel) -> list[alt.Chart]:
    """The fit's own error as a light line with its name, on an axis of errors."""
    if value is None:
        return []
    tooltip = f"fit floor: {value:.3g} {metric.unit}".rstrip()
    rows = alt.Chart(pl.DataFrame({"error": [value], "tooltip": [tooltip]}))
    place = alt.X("error:Q", title=metric.axis) if along == "x" else alt.Y("error:Q", title=metric.axis)
    line = rows.mark_rule(color=MUTED, strokeDash=[2, 3]).encode(place, description="tooltip:N")
    if along == "x":
        text = rows.mark_text(color=MUTED, align="right", dx=-4, dy=7, y=0).encode(place, text="tooltip:N")
    else:
        text = rows.mark_text(color=MUTED, align="left", dx=4, dy=-7, x=0).encode(place, text="tooltip:N")
    return [line, text]


def _estimates(rows: Sequence[tuple[str, Estimate | None]], unit: str, *, signed: bool = False) -> pl.DataFrame:
    """arm, value, low, high and `tooltip` of the arms that have an estimate."""
    known = [(arm, e.value, *e.shown, f"{arm}: {interval(e, unit, signed=signed)}") for arm, e in rows if e is not None]
    kinds = {"arm": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "tooltip": pl.String}
    return pl.DataFrame(known, schema=kinds, orient="row")


def _costs(summaries: Sequence[ArmSummary]) -> pl.DataFrame:
    costs = []
    for summary in summaries:
        error = summary.error.error
        bounds = (error.value, *error.shown) if error else (None, None, None)
        fewest, most = summary.spans.get("parameters", (None, None))
        costs.append((summary.arm, summary.parameters, fewest, most, summary.seconds, *bounds))
    kinds: dict[str, type[pl.DataType]] = {"arm": pl.String}
    kinds |= dict.fromkeys(("parameters", "fewest", "most"), pl.Int64)
    kinds |= dict.fromkeys(("seconds", "error", "low", "high"), pl.Float64)
    return pl.DataFrame(costs, schema=kinds, orient="row")
