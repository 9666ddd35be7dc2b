"""Effective ranks and gradients of hidden layers by order l, from the traces of complete trials.

Effective ranks are given for each parity; the weights of both parities of an order are combined by their root mean
square. See `ablations` for the error without an order, and `dead_irreps` for irreps without a gradient.
"""

import polars as pl

from tesseral.study.configuration.trial import State

_FEATURES = ("rms", "effective_rank", "feature_gradient", "weight_rms", "gradient_rms")
"""Statistics of a layer's features and of the weights that produce them; see `study.records.schemas`."""
ABLATIONS = ("ablation_none", "ablation_zero", "ablation_shuffle")
"""Errors of a trained network as it is, and with the features of one order set to zero or exchanged among atoms."""
_OF_PATHS = ("gradient_rms", "edge_gradient_rms")
"""Statistics of a product path: the second where its weights are computed for each edge."""


def layer_traces(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """Traces of complete trials of the confirm stage, as this module, `ablations` and `dead_irreps` read them.

    :param traces: rows of `study.records.schemas.TRACES`.
    :returns: arm, trial, block, replicate, epoch, layer, path, l, p, statistic, value; finite values only.
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
    """Effective ranks at the end of training, averaged over trials.

    The effective rank of a feature matrix (channels × atoms and components) is exp(−Σ q ln q), q its squared singular
    values divided by their sum (Roy & Vetterli, EUSIPCO 2007, p. 606, there with singular values that are not squared).

    :param rows: from `layer_traces`.
    :returns: arm, layer, l, p, rank, sorted.
    """
    return (
        last_traces(rows)
        .filter(pl.col("statistic") == "effective_rank")
        .group_by("arm", "layer", "l", "p")
        .agg(rank=pl.col("value").mean())
        .sort("arm", "layer", "l", "p")
    )


def gradients(rows: pl.DataFrame) -> pl.DataFrame:
    """Root mean square of the weights that produce each order in an arm's last hidden layer, times their gradient's.

    The gradient is that of the training loss with respect to these weights, so the product has the loss's unit. It
    approximates the change of the loss per relative change of one weight. Geometric means over trials; weights without
    a gradient are left out.

    :param rows: from `layer_traces`.
    :returns: arm, epoch, l, effect, sorted.
    """
    # Weights of the readout are traced as one more layer, and arms differ in depth: take the last layer with features.
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
        .agg(pl.col("effect").log().mean().exp())  # geometric, because effects of trials differ by factors
        .sort("arm", "l", "epoch")
    )


def last_traces(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of each trial's last traced epoch: trials may have ended after different numbers of epochs.

    :param rows: from `layer_traces`.
    :returns: the columns of `rows`.
    """
    return rows.filter(pl.col("epoch") == pl.col("epoch").max().over("trial"))
