"""Figures of ablations: errors of trained networks without the features of an order, and the order needed most."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_columns, axis, in_panels, order_scale
from tesseral.analysis.figures.figure import Figure, about_intervals
from tesseral.analysis.figures.svg import INK
from tesseral.analysis.statistics.features.ablations import Needs, Place
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import Estimate, interval
from tesseral.analysis.terms.metric_label import MetricLabel, describe
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.records.schemas import ABLATION_STRUCTURES
from tesseral.study.wording import listed

_NAMED = 3
"""Most places that are named as those without which the error rises most; more are counted."""
_KINDS = {"zero": "set to zero", "shuffle": "exchanged among atoms"}


def ablation_figures(results: Results) -> Iterator[Figure]:
    """Errors of ablated networks, a few arms of one target in each figure."""
    study, ablated = results.study, results.layers.ablations
    by_target: dict[TargetLabel, list[str]] = {}
    for arm in study.arms:
        if arm in results.layers.needs:
            by_target.setdefault(study.target_of(arm), []).append(arm)
    parts = [
        (target, shown, ablated.filter(pl.col("arm").is_in(arms)))
        for target, arms in by_target.items()
        for shown in in_panels(arms)
    ]
    for number, (target, arms, own) in enumerate(parts, start=1):
        name = target.quantity.ablation_metric
        metric = describe(f"validation.{name}", target)
        judged = describe(study.metric, target).noun
        other = "" if study.metric == f"test.{name}" else f" Arms are compared by another error, {judged}."
        holds = results.study.sampling.shown
        lines = f"Lines are 95 % intervals of the rise of the error {holds}, not corrected for multiple comparisons."
        sentences = [
            "An ablation removes the features of one order l, of both parities, in one layer of a trained network. "
            "Each bar runs from the error without an ablation to the error with it. Full colour: the features are "
            "set to zero. Pale: they are exchanged among the atoms of the same element in a batch of structures.",
            f"The error is {metric.noun} on the first {ABLATION_STRUCTURES} structures of the validation split, or on "
            f"all of them if there are fewer.{other}",
            "Errors are geometric means over the complete trials of an arm. " + about_intervals(own["low"], lines),
            *(
                _finding(own.filter(pl.col("arm") == arm), results.layers.needs[arm], metric)
                for arm in arms
                if results.study.sampling.for_new_data
            ),
        ]
        yield Figure(f"ablation-{number}", ablation_chart(own, arms, metric), " ".join(filter(None, sentences)))


def _finding(rows: pl.DataFrame, needs: Needs, metric: MetricLabel) -> str:
    """Which order the trained networks of an arm need most; empty if there is one order only, or no interval."""
    zeroed = rows.filter(pl.col("kind") == "zero")
    if zeroed["l"].n_unique() < 2 or zeroed["low"].has_nulls():
        return ""
    rises = {
        Place(row["layer"], row["l"]): interval(Estimate(row["rise"], row["low"], row["high"]), "%", signed=True)
        for row in zeroed.to_dicts()
    }
    start = f"{rows['arm'][0]} ({interval(Estimate(zeroed['intact'][0]), metric.unit)} without an ablation): "
    if not needs.most:
        return f"{start}no ablation by zeros raises the error significantly."
    named = [f"{place} ({rises[place]})" for place in needs.most[:_NAMED]]
    if len(needs.most) == 1:
        sentence = f"{start}the largest rise is that of {named[0]}"
    elif len(needs.most) <= _NAMED:
        others = f"that of {named[1]} does" if len(named) == 2 else f"those of {listed(named[1:])} do"
        sentence = f"{start}the largest rise is that of {named[0]}; {others} not differ from it significantly"
    else:
        sentence = (
            f"{start}no order stands out, because the largest of {len(rises)} rises, {rises[needs.most[0]]}, does not "
            f"differ significantly from {len(needs.most) - 1} others"
        )
    if not needs.unseen:
        return f"{sentence}."
    return (
        f"{sentence}; ablating {_either([str(place) for place in needs.unseen])} raises the error by an amount that is "
        "not significant."
    )


def _either(places: Sequence[str]) -> str:
    """Such as `a, b or c`, each by itself."""
    return places[0] if len(places) == 1 else f"{', '.join(places[:-1])} or {places[-1]}"


def ablation_chart(ablated: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.FacetChart:
    """Bars by order, a panel for each layer and arm, on one logarithmic axis.

    :param ablated: from `ablations.ablations`; the axis and colours are those of all its arms.
    :param arms: those that get a panel.
    :param metric: the error that was measured again.
    """
    bounds = {name: pl.col("intact") * (1 + pl.col(name) / 100) for name in ("low", "high")}
    drawn = ablated.with_columns(**{f"error_{name}": bound for name, bound in bounds.items()})
    rows = drawn.filter(pl.col("arm").is_in(list(arms))).with_columns(
        done=pl.col("kind").replace_strict(_KINDS),
        tooltip=pl.struct(pl.all()).map_elements(
            lambda row: (
                f"{row['arm']}, layer {row['layer']}, l = {row['l']} {_KINDS[row['kind']]}: "
                f"{interval(Estimate(row['error']), metric.unit)} from {interval(Estimate(row['intact']), metric.unit)}"
                f", {interval(Estimate(row['rise'], row['low'], row['high']), '%', signed=True)}"
            ),
            return_dtype=pl.String,
        ),
    )
    orders, done = sorted(ablated["l"].unique()), list(_KINDS.values())
    edges = [value for name in ("error", "intact", "error_low", "error_high") for value in drawn[name].drop_nulls()]
    offset = alt.XOffset("done:N", sort=done)
    base = alt.Chart(rows).encode(x=alt.X("l:O", title="order l", axis=alt.Axis(labelAngle=0)), xOffset=offset)
    bars = base.mark_bar().encode(
        y=alt.Y("intact:Q", **axis(edges, f"error, {metric.unit}", count=4)),
        y2="error:Q",
        color=alt.Color("l:O", title="order l", scale=order_scale(orders), legend=None),
        opacity=alt.Opacity("done:N", title=None, sort=done, scale=alt.Scale(domain=done, range=[1, 0.45])),
        description="tooltip:N",
    )
    lines = base.transform_filter("isValid(datum.error_low)").mark_rule(color=INK, strokeWidth=1)
    lines = lines.encode(y=alt.Y("error_low:Q", title=f"error, {metric.unit}"), y2="error_high:Q")
    panel = alt.layer(bars, lines, data=rows).properties(width=max(70, WIDTH / len(arms) - 12), height=110)
    return panel.facet(
        column=arm_columns(arms),
        row=alt.Row("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        spacing=12,
    ).properties(title=f"{metric.title} without the features of one order")
