"""What the layers of trained networks hold and use, by order l: from the traces of a study's complete trials.

Effective ranks are those of each parity by itself; of weights the root mean square of both parities stands for the
order. What is lost without an order is in `ablations`, what no gradient reaches in `audit`.
"""

import polars as pl

from tesseral.study.configuration.trial import State

_FEATURES = ("rms", "effective_rank", "feature_gradient", "weight_rms", "gradient_rms")
ABLATIONS = ("ablation_none", "ablation_zero", "ablation_shuffle")
_OF_PATHS = ("gradient_rms", "edge_gradient_rms")


def layer_traces(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """The rows of traces that this module, `ablations` and `audit` read, of complete trials of the confirm stage.

    :param traces: rows of `study.records.TRACES`.
    :returns: arm, trial, block, replicate, epoch, layer, path, l, p, statistic, value; finite values alone.
    """
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    of_path = pl.col("path").is_not_null() & pl.col("statistic").is_in(_OF_PATHS)
    of_layer = pl.col("path").is_null() & pl.col("statistic").is_in([*_FEATURES, *ABLATIONS])
    return (
        traces.filter(of_path | of_layer, pl.col("value").is_finite())
        .join(complete.lazy().select("trial", "arm", "block", "replicate"), on="trial")
        .select("arm", "trial", "block", "replicate", "epoch", "layer", "path", "l", "p", "statistic", "value")
        .collect()
    )


def effective_ranks(rows: pl.DataFrame) -> pl.DataFrame:
    """At the end of training, means over trials: arm, layer, l, p, rank, sorted."""
    return (
        last(rows)
        .filter(pl.col("statistic") == "effective_rank")
        .group_by("arm", "layer", "l", "p")
        .agg(rank=pl.col("value").mean())
        .sort("arm", "layer", "l", "p")
    )


def gradients(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the weights that make an arm's last hidden layer: their root mean square times the gradient's.

    The gradient is the loss's by these weights, so the product, in the loss's unit, is about what the same relative
    change of any one of them does to it. Geometric means over trials; weights without a gradient are left out.

    :returns: arm, epoch, l, effect, sorted.
    """
    # Weights of the readout stand one layer after the last that has features, which is not the same in all arms.
    hidden = rows.filter(pl.col("statistic") == "rms").group_by("arm").agg(pl.col("layer").max())
    of_weights = rows.filter(pl.col("path").is_null()).join(hidden, on=["arm", "layer"], how="semi")
    key = ["arm", "trial", "epoch", "l", "p"]
    weight, gradient = (
        of_weights.filter(pl.col("statistic") == name).select(*key, pl.col("value").alias(name))
        for name in ("weight_rms", "gradient_rms")
    )
    return (
        weight.join(gradient, on=key)
        .filter(pl.col("weight_rms") > 0, pl.col("gradient_rms") > 0)
        .group_by("arm", "trial", "epoch", "l")
        .agg(effect=(pl.col("weight_rms") * pl.col("gradient_rms")).pow(2).mean().sqrt())
        .group_by("arm", "epoch", "l")
        .agg(pl.col("effect").log().mean().exp())
        .sort("arm", "l", "epoch")
    )


def last(rows: pl.DataFrame) -> pl.DataFrame:
    """Those of each trial's last trace."""
    return rows.filter(pl.col("epoch") == pl.col("epoch").max().over("trial"))
