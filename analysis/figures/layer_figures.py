"""Figures of hidden layers by order l: effective ranks of features, and the effect of weights on the loss."""

from collections.abc import Iterator, Sequence

import altair as alt
import polars as pl

from tesseral.analysis.figures.axes import WIDTH, arm_columns, axis, in_panels, order_scale
from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.statistics.results import Results

_CELL = 38  # width of a cell, px


def layer_figures(results: Results) -> Iterator[Figure]:
    """Effective ranks at the end of training, and the weights' effect on the loss during training."""
    ranks, effects = results.layers.effective_ranks, results.layers.gradients
    if ranks.height:
        yield Figure(
            "effective-rank",
            rank_chart(ranks, [arm for arm in results.study.arms if arm in set(ranks["arm"])]),
            "The effective rank is the number of independent directions that the channels of one order and parity use "
            "after training: exp(−Σ q ln q), where q are the squared singular values of the matrix of features "
            "(channels × atoms and components), divided by their sum. It is 1 if every channel is a multiple of the "
            "same channel. It is the number of channels if all channels are independent and equally strong. The number "
            "of channels and atoms · (2l + 1) are upper bounds, so compare orders only where both are large. The mean "
            "over atoms is subtracted from even scalars (0e) first. There is one row of panels for each parity; "
            "numbers are means over the complete trials of an arm.",
        )
    arms = [arm for arm in results.study.arms if arm in set(effects["arm"])]
    for number, shown in enumerate(in_panels(arms), start=1):
        yield Figure(
            f"gradients-{number}",
            gradient_chart(effects, shown),
            "The effect of an order is the root mean square of the weights that produce its features in the last "
            "hidden layer, times the root mean square of the gradient of the training loss with respect to these "
            "weights. It approximates the change of the loss per relative change of one weight. Lines are geometric "
            "means over the complete trials of an arm.",
        )


def rank_chart(ranks: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """A cell for each arm, layer, order and parity, with its number.

    :param ranks: from `layers.effective_ranks`.
    """
    rows = ranks.with_columns(
        parity=pl.when(pl.col("p") > 0).then(pl.lit("even")).otherwise(pl.lit("odd")),
        shown=pl.col("rank").map_elements(lambda value: f"{value:.3g}", return_dtype=pl.String),
    ).with_columns(tooltip=pl.format("{}, layer {}, l = {}, {}: {}", "arm", "layer", "l", "parity", "shown"))
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
    cells = base.mark_rect(stroke=None).encode(color=colour, description="tooltip:N")
    numbers = base.mark_text(fontSize=11).encode(text="shown:N", color=dark)
    chart = alt.layer(cells, numbers).properties(width=alt.Step(_CELL), height=alt.Step(22))
    return chart.facet(
        column=alt.Column("layer:O", title=None, header=alt.Header(labelExpr="'layer ' + datum.value")),
        row=alt.Row("parity:N", title=None, sort=["even", "odd"]),
        spacing=12,
    ).properties(title="Effective rank of the features of each order and parity")


def gradient_chart(effects: pl.DataFrame, arms: Sequence[str]) -> alt.FacetChart:
    """Lines over epochs, a panel for each arm, on one logarithmic axis.

    :param effects: from `layers.gradients`; the axis and colours are those of all its arms.
    """
    rows = effects.filter(pl.col("arm").is_in(list(arms))).with_columns(tooltip=pl.format("{}, l = {}", "arm", "l"))
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=3)),
            y=alt.Y("effect:Q", **axis(effects["effect"].to_list(), "weight × gradient", count=4)),
            color=alt.Color("l:O", title="order l", scale=order_scale(sorted(effects["l"].unique()))),
            description="tooltip:N",
        )
        .properties(width=max(90, WIDTH / len(arms) - 12), height=140)
    )
    return lines.facet(column=arm_columns(arms), spacing=12).properties(
        title="Effect of the weights of each order on the loss"
    )
