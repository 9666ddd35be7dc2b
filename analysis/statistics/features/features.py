"""Hidden features by order l: their share of a layer's norm over training, and the epoch at which it settles.

The features of order l and parity p in a layer hold n components of squared norm N. Traces record rms² = N / n and
share = N / ΣN over the layer. Parities are combined by

    share_l = Σ_p share_lp,        rms_l² = Σ_p share_lp / Σ_p (share_lp / rms_lp²),

where the second is Σ N / Σ n, because share / rms² equals n up to a factor that the whole layer has in common. A parity
that is identically zero (no path reaches it) drops out of both sums, so it does not dilute the other one.
"""

import polars as pl

from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError

_PARITIES = (1, -1)

# Trial, layer, epoch and l as one integer of 20, 10, 30 and 4 bits: Polars groups and sorts by it faster than by four
# columns. A training has at most 10⁹ steps, and e3nn no l above 11.
_TRIAL, _LAYER, _EPOCH = 2**44, 2**34, 2**4
_BOUNDS = {"layer": 2**10, "epoch": 2**30, "l": 2**4}
_MOST_TRIALS = 2**20


def hidden_features(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """Features by order in the complete trials of the confirm stage, parities combined.

    :param traces: rows of `study.records.schemas.TRACES`; rows of a tensor-product path are ignored.
    :returns: arm, trial, layer, epoch, l, share, rms, sorted; share and rms are dimensionless. Arms and trials are
        enumerations, for their names would take more memory than the numbers.
    :raises RecordError: if there are more than 2²⁰ such rows of trials; or if a share or size is of a layer from 2¹⁰
        on, an epoch from 2³⁰ on or an l from 16 on.
    """
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    arms, ids = (pl.Enum(complete[name].unique().sort()) for name in ("arm", "trial"))
    # A trial has a row for each arm that chose its network.
    own = complete.select(pl.col("arm").cast(arms), pl.col("trial").cast(ids)).sort("arm", "trial")
    rows = own.select(code=pl.col("trial").to_physical().cast(pl.UInt64)).with_row_index("row")
    if own.height > _MOST_TRIALS:
        raise RecordError(f"traces: expected at most {_MOST_TRIALS:,} complete trials of arms, got {own.height:,}")
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
    key = pl.col("key")
    row = (key // _TRIAL).cast(pl.UInt32)
    fits = [pl.col(name).is_between(0, bound - 1) for name, bound in _BOUNDS.items()]
    code, layer, epoch, order = (pl.col(name).cast(pl.UInt64, strict=False) for name in ("code", *_BOUNDS))
    features = (
        traces.filter(pl.col("path").is_null(), pl.col("statistic").is_in(["share", "rms"]))
        .with_columns(code=pl.col("trial").cast(ids, strict=False).to_physical())  # null for the other trials
        .filter(pl.col("code").is_not_null())
        .group_by(key=pl.when(*fits).then(code * _TRIAL + layer * _LAYER + epoch * _EPOCH + order))
        .agg(parts)
        .with_columns(code=key // _TRIAL)
        .join(rows.lazy(), on="code", how="left")  # what does not fit has no code
        .select(
            key=pl.col("row").cast(pl.UInt64) * _TRIAL + key % _TRIAL,
            share=pl.sum_horizontal(f"share{p}" for p in _PARITIES),
            rms=(pl.sum_horizontal(share) / pl.sum_horizontal(components)).sqrt().fill_nan(0.0),
        )
        .sort("key")
        .select(
            pl.lit(own["arm"]).gather(row),
            pl.lit(own["trial"]).gather(row),
            (key // _LAYER % _BOUNDS["layer"]).cast(pl.Int16).alias("layer"),
            (key // _EPOCH % _BOUNDS["epoch"]).cast(pl.Int64).alias("epoch"),
            (key % _BOUNDS["l"]).cast(pl.Int8).alias("l"),
            "share",
            "rms",
        )
        .collect(engine="streaming")
    )
    if features["epoch"].has_nulls():
        bounds = ", ".join(f"{name} below {bound:,}" for name, bound in _BOUNDS.items())
        raise RecordError(f"traces: expected shares and sizes of features at {bounds}, got one elsewhere")
    return features


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
    rows, share, epoch = per_trial.lazy(), pl.col("share"), pl.col("epoch")
    # Joins of whole columns take less than half the time of expressions over each series.
    ends = (
        rows.group_by(series)
        .agg(first=share.min_by("epoch"), last=share.max_by("epoch"), low=share.min(), high=share.max())
        .with_columns(half=pl.max_horizontal(pl.col("high") - pl.col("last"), pl.col("last") - pl.col("low")) / 2)
    )
    far = rows.join(ends, on=series).filter((share - pl.col("last")).abs() > pl.col("half"))
    last_far = far.group_by(series).agg(far=epoch.max())
    settled = rows.join(last_far, on=series).filter(epoch > pl.col("far")).group_by(series).agg(epoch.min())
    return (
        ends.join(settled, on=series, how="left")
        .sort(series)
        .collect(engine="streaming")
        .group_by("arm", "layer", "l")
        .agg(
            pl.col("first", "last").mean(),
            trials=pl.len(),
            earliest=epoch.min(),
            latest=epoch.max(),
            epoch=epoch.median(),
        )
        .select("arm", "layer", "l", "trials", "first", "last", "epoch", "earliest", "latest")
        .sort("arm", "layer", "l")
    )
