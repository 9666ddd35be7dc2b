"""The figures of what layers hold and use by order l, and the sentences that say what they mean."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis import layers
from tesseral.analysis.axes import WIDTH, axis
from tesseral.analysis.illustrations import PANELS, Figure
from tesseral.analysis.load import StudyTables
from tesseral.analysis.statistics import Estimate
from tesseral.analysis.svg import order_scale
from tesseral.analysis.targets import Target
from tesseral.analysis.wording import MetricLabel, describe, interval
from tesseral.study.records import ABLATION_METRICS

_LINES = "split(datum.value, ', ')"  # a label of several factors takes a line for each
_CELL = 38
_KINDS = {"zero": "set to zero", "shuffle": "exchanged among atoms"}


def ablation_figures(tables: StudyTables, found: pl.DataFrame) -> Iterator[Figure]:
    """A few arms of one target in each figure.

    :param found: of `layers.ablations`.
    """
    shown = found.filter(pl.col("error") > 0, pl.col("intact") > 0)
    by_target: dict[Target, list[str]] = {}
    for arm in tables.study.arms:
        if arm in set(shown["arm"]):
            by_target.setdefault(tables.study.target_of(arm), []).append(arm)
    parts = [
        (target, arms[start : start + PANELS], shown.filter(pl.col("arm").is_in(arms)))
        for target, arms in by_target.items()
        for start in range(0, len(arms), PANELS)
    ]
    for number, (target, arms, own) in enumerate(parts, start=1):
        metric = describe(f"validation.{ABLATION_METRICS[0 if target.quantity == 'density' else 1]}", target)
        told = " ".join(sentence for arm in arms for sentence in _told(own.filter(pl.col("arm") == arm), metric))
        yield Figure(
            f"ablation-{number}",
            ablation_chart(own, arms, metric),
            "Each bar reaches from the error of the trained networks to their error with the features of one order in "
            "one layer, of both parities, set to zero (full) or exchanged among the atoms of a batch (pale), on "
            f"validation structures. Means over the complete trials of an arm. {told}",
        )


def _told(rows: pl.DataFrame, metric: MetricLabel) -> Iterator[str]:
    """Which order the trained networks of an arm need most and least; nothing of an arm with one order alone."""
    zeroed = rows.filter(pl.col("kind") == "zero").sort("error")
    if zeroed["l"].n_unique() > 1:
        least, most = zeroed.row(0, named=True), zeroed.row(-1, named=True)
        shown = [
            f"without l = {row['l']} in layer {row['layer']} ({interval(Estimate(row['error']), metric.unit)})"
            for row in (most, least)
        ]
        intact = interval(Estimate(most["intact"]), metric.unit)
        yield f"{most['arm']}, {intact} as trained: the error is highest {shown[0]}, lowest {shown[1]}."


def ablation_chart(found: pl.DataFrame, arms: Sequence[str], metric: MetricLabel) -> alt.FacetChart:
    """Bars by order, a panel for each layer and arm, on one logarithmic axis.

    :param found: of `layers.ablations`; the axis and colours are those of all its arms.
    """
    rows = found.filter(pl.col("arm").is_in(list(arms))).with_columns(
        done=pl.col("kind").replace_strict(_KINDS),
        told=pl.struct(pl.all()).map_elements(
            lambda row: (
                f"{row['arm']}, layer {row['layer']}, l = {row['l']} {_KINDS[row['kind']]}: "
                f"{interval(Estimate(row['error']), metric.unit)} from {interval(Estimate(row['intact']), metric.unit)}"
            ),
            return_dtype=pl.String,
        ),
    )
    orders, done = sorted(found["l"].unique()), list(_KINDS.values())
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("l:O", title="order l", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("done:N", sort=done),
            y=alt.Y("intact:Q", **axis([*found["error"], *found["intact"]], f"error, {metric.unit}", count=4)),
            y2="error:Q",
            color=alt.Color("l:O", title="order l", scale=order_scale(orders), legend=None),
            opacity=alt.Opacity("done:N", title=None, sort=done, scale=alt.Scale(domain=done, range=[1, 0.45])),
            description="told:N",
        )
        .properties(width=max(70, WIDTH / len(arms) - 12), height=110)
    )
    return bars.facet(
        column=alt.Column("arm:N", sort=list(arms), title=None, header=alt.Header(labelExpr=_LINES)),
        row=alt.Row("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        spacing=12,
    ).properties(title=f"{metric.title} when the features of one order are taken away")


def inner_figures(tables: StudyTables, rows: pl.DataFrame) -> Iterator[Figure]:
    """Effective ranks at the end of training, and gradients during it.

    :param rows: of `layers.layer_rows`.
    """
    ranks, effects = layers.effective_ranks(rows), layers.gradients(rows)
    if ranks.height:
        yield Figure(
            "effective-rank",
            rank_chart(ranks, [arm for arm in tables.study.arms if arm in set(ranks["arm"])]),
            "How many directions among its channels the features of an order fill, after training: 1 where all are "
            "multiples of one, as many as there are channels where all are independent and equally strong. Parities "
            "are added; means over the complete trials of an arm.",
        )
    arms = [arm for arm in tables.study.arms if arm in set(effects["arm"])]
    for start in range(0, len(arms), PANELS):
        yield Figure(
            f"gradients-{start // PANELS + 1}",
            gradient_chart(effects, arms[start : start + PANELS]),
            "Root mean square of the weights that make an order’s features in the last hidden layer, times that of "
            "the training loss’s gradient by them: what an equal relative change of these weights does to the loss. "
            "Geometric means over the complete trials of an arm.",
        )


def rank_chart(ranks: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """A cell for each arm, layer and order, with its number.

    :param ranks: of `layers.effective_ranks`.
    """
    rows = ranks.with_columns(
        shown=pl.col("rank").map_elements(lambda value: f"{value:.3g}", return_dtype=pl.String),
        told=pl.format("{}, layer {}, l = {}: {}", "arm", "layer", "l", pl.col("rank").round(2)),
    )
    base = alt.Chart(rows).encode(
        x=alt.X("l:O", title="order l", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("arm:N", sort=list(arms), title=None),
    )
    largest = float(ranks["rank"].max() or 1.0)  # type: ignore[arg-type]
    colour = alt.Color(
        "rank:Q",
        title="effective rank",
        scale=alt.Scale(type="log", domain=[1, max(largest, 2.0)], range=["#dfe7ee", "#0072B2"], clamp=True),
        legend=None,
    )
    dark = alt.condition(f"datum.rank > {max(largest, 2.0) ** 0.6}", alt.value("#ffffff"), alt.value("#101418"))
    cells = base.mark_rect(stroke=None).encode(color=colour, description="told:N")
    numbers = base.mark_text(fontSize=11).encode(text="shown:N", color=dark)
    chart = alt.layer(cells, numbers).properties(width=alt.Step(_CELL), height=alt.Step(22))
    return chart.facet(
        column=alt.Column("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")), spacing=12
    ).properties(title="Effective rank of the features of each order")


def gradient_chart(effects: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """Lines over epochs, a panel for each arm, on one logarithmic axis.

    :param effects: of `layers.gradients`; the axis and colours are those of all its arms.
    """
    rows = effects.filter(pl.col("arm").is_in(list(arms))).with_columns(told=pl.format("{}, l = {}", "arm", "l"))
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3)),
            y=alt.Y("effect:Q", **axis(effects["effect"].to_list(), "weight × gradient", count=4)),
            color=alt.Color("l:O", title="order l", scale=order_scale(sorted(effects["l"].unique()))),
            description="told:N",
        )
        .properties(width=max(90, WIDTH / len(arms) - 12), height=140)
    )
    return lines.facet(
        column=alt.Column("arm:N", sort=list(arms), title=None, header=alt.Header(labelExpr=_LINES)), spacing=12
    ).properties(title="What the weights of each order do to the loss")


def audit_lines(tables: StudyTables, rows: pl.DataFrame) -> list[str]:
    """Sentences on what no gradient of the loss reaches in the trained networks, beside what the plan calls dead.

    Empty where no gradient was traced.

    :param rows: of `layers.layer_rows`.
    """
    planned = (
        tables.trials.filter(pl.col("stage") == "confirm").group_by("arm").agg(pl.col("dead").drop_nulls().first())
    )
    named, own = dict(planned.rows()), set(rows["arm"])
    audits = {
        arm: one
        for arm in tables.study.arms
        if arm in own and (one := layers.audit(rows.filter(pl.col("arm") == arm), named.get(arm))) is not None
    }
    foreseen = [one for one in audits.values() if not (one.unforeseen or one.alive or one.wasted)]
    lines = []
    if foreseen:
        paths, dead_paths = sum(one.paths for one in foreseen), sum(one.dead_paths for one in foreseen)
        where = "every arm" if len(foreseen) == len(audits) else f"{len(foreseen)} of {len(audits)} arms"
        told = f"In {where} the loss has a gradient by the features of every irrep"
        if any(one.dead for one in foreseen):
            told += " but those that the plan says nothing reads"
        told += f", and by {'every path' if not dead_paths else f'{paths - dead_paths} of {paths} paths'}"
        lines.append(f"{told}{', all but those into such irreps' if dead_paths else ''}.")
    return lines + [f"{arm}: {sentence}" for arm, one in audits.items() for sentence in _differing(one)]


def _differing(one: layers.Audit) -> Iterator[str]:
    if one.unforeseen:
        yield f"the loss has no gradient by the features {_listed(one.unforeseen)}, which the plan does not call dead."
    if one.alive:
        yield f"the plan calls {_listed(one.alive)} dead, yet there is a gradient."
    if one.wasted:
        yield f"paths without a gradient into irreps that have one: {_listed(one.wasted)}."


def _listed(things: Sequence[object], most: int = 6) -> str:
    shown = ", ".join(map(str, things[:most]))
    return shown if len(things) <= most else f"{shown} and {len(things) - most} more"
