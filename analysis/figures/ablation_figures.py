"""The figures of what trained networks lose without the features of an order, and sentences on what they need most."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_columns, axis, in_panels
from tesseral.analysis.figures.captioned import Figure
from tesseral.analysis.figures.svg import INK, order_scale
from tesseral.analysis.statistics.ablations import Needs, Place, needs
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.analysis.terms.wording import MetricLabel, describe, interval
from tesseral.study.records.schemas import ABLATION_METRICS, ABLATION_STRUCTURES
from tesseral.study.wording import listed

_NAMED = 3
"""Places that are named as those that an arm may need most; of more, how many."""
_KINDS = {"zero": "set to zero", "shuffle": "exchanged among atoms"}


def ablation_metric(target: TargetLabel) -> str:
    """The metric that ablations of this target are measured by, such as `l2_error`."""
    return ABLATION_METRICS[0 if target.quantity == "density" else 1]


def ablation_figures(tables: StudyTables, rows: pl.DataFrame, found: pl.DataFrame) -> Iterator[Figure]:
    """A few arms of one target in each figure.

    :param rows: of `layers.layer_traces`.
    :param found: of `ablations.ablations`.
    """
    study = tables.study
    by_target: dict[TargetLabel, list[str]] = {}
    for arm in study.arms:
        if arm in set(found["arm"]):
            by_target.setdefault(study.target_of(arm), []).append(arm)
    parts = [
        (target, shown, found.filter(pl.col("arm").is_in(arms)))
        for target, arms in by_target.items()
        for shown in in_panels(arms)
    ]
    for number, (target, arms, own) in enumerate(parts, start=1):
        name = ablation_metric(target)
        metric = describe(f"validation.{name}", target)
        judged = describe(study.metric, target).noun
        other = "" if study.metric == f"test.{name}" else f", not {judged} that arms are compared by"
        told = [
            _told(own.filter(pl.col("arm") == arm), needs(rows.filter(pl.col("arm") == arm), study.most_blocks), metric)
            for arm in arms
        ]
        bounded = own["low"].is_not_null().any()
        yield Figure(
            f"ablation-{number}",
            ablation_chart(own, arms, metric),
            "Each bar runs from the error of the trained networks to their error after the features of one order l in "
            "one layer (both parities) are set to zero (full colour) or exchanged among the atoms of the same element "
            f"in a batch (pale). The error is {metric.noun} on the first {ABLATION_STRUCTURES} structures of the "
            f"validation split (on all, if fewer){other}. Geometric means over the complete trials of an arm; "
            + ("lines are 95 % intervals of the rise, each for itself. " if bounded else "too few for intervals. ")
            + " ".join(filter(None, told)),
        )


def _told(rows: pl.DataFrame, found: Needs, metric: MetricLabel) -> str:
    """Which order the trained networks of an arm need most; empty with one order alone, or without intervals."""
    zeroed = rows.filter(pl.col("kind") == "zero")
    if zeroed["l"].n_unique() < 2 or zeroed["low"].has_nulls():
        return ""
    rises = {
        Place(row["layer"], row["l"]): interval(Estimate(row["rise"], row["low"], row["high"]), "%", signed=True)
        for row in zeroed.to_dicts()
    }
    arm, intact = rows["arm"][0], interval(Estimate(zeroed["intact"][0]), metric.unit)
    start = f"{arm}, {intact} as trained: "
    if not found.most:
        return f"{start}no order of any layer, set to zero, raises the error so that its rise can be told from none."
    named = [f"{place} ({rises[place]})" for place in found.most[:_NAMED]]
    if len(found.most) == 1:
        told = f"{start}the error rises most without {named[0]}"
    elif len(found.most) <= _NAMED:
        told = f"{start}the error rises most without one of {listed(named)}, which cannot be told apart"
    else:
        told = f"{start}the order that is needed most cannot be named, for the largest of {len(rises)} rises, "
        told += f"{rises[found.most[0]]}, cannot be told apart from {len(found.most) - 1} others"
    unseen = [str(place) for place in found.unseen]
    return told + (f"; no rise can be told from none without {listed(unseen)}." if unseen else ".")


def ablation_chart(found: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.FacetChart:
    """Bars by order, a panel for each layer and arm, on one logarithmic axis.

    :param found: of `ablations.ablations`; the axis and colours are those of all its arms.
    """
    bounds = {name: pl.col("intact") * (1 + pl.col(name) / 100) for name in ("low", "high")}
    drawn = found.with_columns(**{f"error_{name}": bound for name, bound in bounds.items()})
    rows = drawn.filter(pl.col("arm").is_in(list(arms))).with_columns(
        done=pl.col("kind").replace_strict(_KINDS),
        told=pl.struct(pl.all()).map_elements(
            lambda row: (
                f"{row['arm']}, layer {row['layer']}, l = {row['l']} {_KINDS[row['kind']]}: "
                f"{interval(Estimate(row['error']), metric.unit)} from {interval(Estimate(row['intact']), metric.unit)}"
                f", {interval(Estimate(row['rise'], row['low'], row['high']), '%', signed=True)}"
            ),
            return_dtype=pl.String,
        ),
    )
    orders, done = sorted(found["l"].unique()), list(_KINDS.values())
    edges = [value for name in ("error", "intact", "error_low", "error_high") for value in drawn[name].drop_nulls()]
    offset = alt.XOffset("done:N", sort=done)
    base = alt.Chart(rows).encode(x=alt.X("l:O", title="order l", axis=alt.Axis(labelAngle=0)), xOffset=offset)
    bars = base.mark_bar().encode(
        y=alt.Y("intact:Q", **axis(edges, f"error, {metric.unit}", count=4)),
        y2="error:Q",
        color=alt.Color("l:O", title="order l", scale=order_scale(orders), legend=None),
        opacity=alt.Opacity("done:N", title=None, sort=done, scale=alt.Scale(domain=done, range=[1, 0.45])),
        description="told:N",
    )
    lines = base.transform_filter("isValid(datum.error_low)").mark_rule(color=INK, strokeWidth=1)
    lines = lines.encode(y=alt.Y("error_low:Q", title=f"error, {metric.unit}"), y2="error_high:Q")
    panel = alt.layer(bars, lines, data=rows).properties(width=max(70, WIDTH / len(arms) - 12), height=110)
    return panel.facet(
        column=arm_columns(arms),
        row=alt.Row("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        spacing=12,
    ).properties(title=f"{metric.title} when the features of one order are taken away")
