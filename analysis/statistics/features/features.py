"""Hidden features by order l: their share of a layer's norm over training, and the epoch at which it settles.

The features of order l and parity p in a layer hold n components of squared norm N. Traces record rms² = N / n and
share = N / ΣN over the layer. Parities are combined by

    share_l = Σ_p share_lp,        rms_l² = Σ_p share_lp / Σ_p (share_lp / rms_lp²),

where the second is Σ N / Σ n, because share / rms² equals n up to a factor that the whole layer has in common. A parity
that is identically zero (no path reaches it) drops out of both sums, so it does not dilute the other one.
"""

import polars as pl

from tesseral.study.configuration.trial import State

_PARITIES = (1, -1)


def hidden_features(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """Features by order in the complete trials of the confirm stage, parities combined.

    :param traces: rows of `study.records.schemas.TRACES`; rows of a tensor-product path are ignored.
    :returns: arm, trial, layer, epoch, l, share, rms, sorted; share and rms are dimensionless. Arms and trials are
        enumerations, for their names would take more memory than the numbers.
    """
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    arms, ids = (pl.Enum(complete[name].unique().sort()) for name in ("arm", "trial"))
    own = complete.select(pl.col("arm").cast(arms), pl.col("trial").cast(ids))
    # Both parities in one pass: each sum has one term, for a trace has one value of each statistic and irrep.
    parts = [
        pl.when(pl.col("statistic") == name, pl.col("p") == p).then("value").sum().alias(f"{name}{p}")
        for name in ("share", "rms")
        for p in _PARITIES
    ]
    live = [pl.col(f"rms{p}") > 0 for p in _PARITIES]
    share = [pl.when(lives).then(f"share{p}").otherwise(0.0) for lives, p in zip(live, _PARITIES, strict=True)]
    components = [
        pl.when(lives).then(pl.col(f"share{p}") / pl.col(f"rms{p}") ** 2).otherwise(0.0)
        for lives, p in zip(live, _PARITIES, strict=True)
    ]
    return (
        traces.filter(pl.col("path").is_null(), pl.col("statistic").is_in(["share", "rms"]))
        .with_columns(pl.col("trial").cast(ids, strict=False))  # null for the other trials
        .filter(pl.col("trial").is_not_null())
        .group_by("trial", "layer", "epoch", "l")
        .agg(parts)
        .join(own.lazy(), on="trial")
        .select(
            *("arm", "trial", "layer", "epoch", "l"),
            share=pl.sum_horizontal(f"share{p}" for p in _PARITIES),
            rms=(pl.sum_horizontal(share) / pl.sum_horizontal(components)).sqrt().fill_nan(0.0),
        )
        .sort("arm", "trial", "layer", "epoch", "l")
        .collect(engine="streaming")
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
    ends = [pl.col("share").get(place) for place in (pl.col("epoch").arg_min(), pl.col("epoch").arg_max())]
    distance = (pl.col("share") - ends[1]).abs()
    far = pl.col("epoch").filter(distance > distance.max() / 2).max()
    return (
        per_trial.group_by(series)
        .agg(
            first=ends[0],
            last=ends[1],
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
