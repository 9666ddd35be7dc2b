"""Hidden features by order l: their share of a layer's norm over training, and the epoch at which it settles.

The features of order l and parity p in a layer hold n components of squared norm N. Traces record rms² = N / n and
share = N / ΣN over the layer. Parities are combined by

    share_l = Σ_p share_lp,        rms_l² = Σ_p share_lp / Σ_p (share_lp / rms_lp²),

where the second is Σ N / Σ n, because share / rms² equals n up to a factor that the whole layer has in common. A parity
that is identically zero (no path reaches it) drops out of both sums, so it does not dilute the other one.
"""

import polars as pl

from tesseral.study.configuration.trial import State


def hidden_features(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """Features by order in the complete trials of the confirm stage, parities combined.

    :param traces: rows of `study.records.schemas.TRACES`; rows of a tensor-product path are ignored.
    :returns: arm, trial, layer, epoch, l, share, rms, sorted; share and rms are dimensionless.
    """
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    components = pl.col("share") / pl.col("rms") ** 2
    live = pl.col("rms") > 0
    return (
        traces.filter(pl.col("path").is_null(), pl.col("statistic").is_in(["share", "rms"]))
        .join(complete.lazy().select("trial", "arm"), on="trial")
        .group_by("arm", "trial", "layer", "epoch", "l", "p")
        .agg(*(pl.col("value").filter(pl.col("statistic") == name).last().alias(name) for name in ("share", "rms")))
        .group_by("arm", "trial", "layer", "epoch", "l")
        .agg(
            pl.col("share").sum(),
            rms=(pl.col("share").filter(live).sum() / components.filter(live).sum()).sqrt().fill_nan(0.0),
        )
        .sort("arm", "trial", "layer", "epoch", "l")
        .collect()
    )


def mean_features(per_trial: pl.DataFrame) -> pl.DataFrame:
    """Averages over the trials of each arm.

    :param per_trial: from `hidden_features`.
    :returns: arm, layer, epoch, l, trials (their number), share, rms, sorted.
    """
    return (
        per_trial.group_by("arm", "layer", "epoch", "l")
        .agg(trials=pl.len(), share=pl.col("share").mean(), rms=pl.col("rms").mean())
        .sort("arm", "layer", "l", "epoch")
    )


def emergence(per_trial: pl.DataFrame) -> pl.DataFrame:
    """The epoch at which the share of each order settles.

    Let x(e) be the share in one trial at epoch e, E the last traced epoch, and d(e) = |x(e) − x(E)|. The share settles
    at the first traced epoch from which on d stays at or below half of its maximum. A share that only rises or only
    falls has then covered half of its way; for one that first swings the other way, the way is counted from its turn.

    :param per_trial: from `hidden_features`.
    :returns: arm, layer, l, trials, first and last (mean shares), epoch (median over trials), earliest, latest,
        sorted. Epochs are null if the share moved in no trial.
    """
    series = ["arm", "trial", "layer", "l"]
    distance = (pl.col("share") - pl.col("share").last()).abs()
    far = pl.col("epoch").filter(distance > distance.max() / 2).max()
    return (
        per_trial.sort("epoch")
        .group_by(series)
        .agg(
            first=pl.col("share").first(),
            last=pl.col("share").last(),
            epoch=pl.col("epoch").filter(pl.col("epoch") > far).min(),
        )
        .group_by("arm", "layer", "l")
        .agg(
            pl.col("first", "last").mean(),
            trials=pl.len(),
            earliest=pl.col("epoch").min(),
            latest=pl.col("epoch").max(),
            epoch=pl.col("epoch").median(),
        )
        .select("arm", "layer", "l", "trials", "first", "last", "epoch", "earliest", "latest")
        .sort("arm", "layer", "l")
    )
