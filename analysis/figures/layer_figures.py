"""The figures of what layers hold by order l: effective ranks, and what their weights do to the loss."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_columns, axis, in_panels
from tesseral.analysis.figures.captioned import Figure
from tesseral.analysis.figures.svg import order_scale
from tesseral.analysis.statistics import layers
from tesseral.analysis.tables.load import StudyTables

_CELL = 38


def inner_figures(tables: StudyTables, rows: pl.DataFrame) -> Iterator[Figure]:
    """Effective ranks at the end of training, and gradients during it.

    :param rows: of `layers.layer_traces`.
    """
    ranks, effects = layers.effective_ranks(rows), layers.gradients(rows)
    if ranks.height:
        yield Figure(
            "effective-rank",
            rank_chart(ranks, [arm for arm in tables.study.arms if arm in set(ranks["arm"])]),
            "How many directions among its channels the features of an order and parity fill after training, on the "
            "traced structures: 1 where all channels are multiples of one, as many as there are channels where all are "
            "independent and equally strong. Never more than the channels, nor than atoms · (2l + 1): where either is "
            "few, orders cannot be compared by it. Invariants (l = 0, even) are centred first: what all atoms share "
            "does not count. A row of panels for each parity; means over the complete trials of an arm.",
        )
    arms = [arm for arm in tables.study.arms if arm in set(effects["arm"])]
    for number, shown in enumerate(in_panels(arms), start=1):
        yield Figure(
            f"gradients-{number}",
            gradient_chart(effects, shown),
            "Root mean square of the weights that make an order’s features in the last hidden layer, times that of "
            "the training loss’s gradient by them: about what the same relative change of any one of them does to the "
            "loss. Geometric means over the complete trials of an arm.",
        )


def rank_chart(ranks: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """A cell for each arm, layer, order and parity, with its number.

    :param ranks: of `layers.effective_ranks`.
    """
    rows = ranks.with_columns(
        parity=pl.when(pl.col("p") > 0).then(pl.lit("even")).otherwise(pl.lit("odd")),
        shown=pl.col("rank").map_elements(lambda value: f"{value:.3g}", return_dtype=pl.String),
    ).with_columns(told=pl.format("{}, layer {}, l = {}, {}: {}", "arm", "layer", "l", "parity", "shown"))
    base = alt.Chart(rows).encode(
        x=alt.X("l:O", title="order l", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("arm:N", sort=list(arms), title=None),
    )
    largest = ranks.select(pl.max("rank")).item() or 1.0
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
        column=alt.Column("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        row=alt.Row("parity:N", title=None, sort=["even", "odd"]),
        spacing=12,
    ).properties(title="Effective rank of the features of each order and parity")


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
    return lines.facet(column=arm_columns(arms), spacing=12).properties(
        title="What the weights of each order do to the loss"
    )
