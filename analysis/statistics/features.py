"""What each order l does: hidden features over training, when they emerge, and the error of each output order.

A layer's features of order l and parity p hold n components of squared norm N; traces record rms² = N/n and
share = N/ΣN over the layer. Parities are joined by

    share_l = Σ_p share_lp,        rms_l² = Σ_p share_lp / Σ_p (share_lp / rms_lp²),

for share/rms² is n up to a factor of the whole layer: the second is Σ N / Σ n. A parity that is identically zero
(one that no path reaches) drops out of both, so it does not dilute the other.
"""

import re
from collections.abc import Sequence

import polars as pl

from tesseral.analysis.statistics.paired import arm_errors
from tesseral.study.configuration.trial import State
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.irreps import parse_irreps

_ORDER = re.compile(r"\d+(?=[eo])")
_IRREPS = "setting.network.hidden.irreps"


def features(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """Features by order in the complete trials of the confirm stage, parities joined.

    :param traces: rows of `study.records.TRACES`; those of a tensor-product path are not features of a layer.
    :returns: arm, trial, layer, epoch, l, share, rms, sorted; all numbers dimensionless.
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
    """`features` averaged over the trials of each arm: arm, layer, epoch, l, trials, share, rms, sorted."""
    return (
        per_trial.group_by("arm", "layer", "epoch", "l")
        .agg(trials=pl.len(), share=pl.col("share").mean(), rms=pl.col("rms").mean())
        .sort("arm", "layer", "l", "epoch")
    )


def emergence(per_trial: pl.DataFrame) -> pl.DataFrame:
    """When the share of each order takes its place: the epoch at which it settles.

    In one trial, with x(E) the share at the last trace, d(e) = |x(e) − x(E)|: the first traced epoch from which on
    d stays at or below half of its maximum. For a share that only rises, or only falls, from where it started, this
    is where it has gone half of its way; one that first swings the other way is counted from its turn.

    :returns: arm, layer, l, trials, first and last (mean shares), epoch (median over trials), earliest, latest,
        sorted. Epochs are null where no trial's share moved.
    """
    one = ["arm", "trial", "layer", "l"]
    distance = (pl.col("share") - pl.col("share").last()).abs()
    far = pl.col("epoch").filter(distance > distance.max() / 2).max()
    return (
        per_trial.sort("epoch")
        .group_by(one)
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


def output_errors(trials: pl.DataFrame, metric: str, arms: Sequence[str], blocks: int) -> pl.DataFrame:
    """The error of each output order by arm, with the 95 % interval of `statistics.arm_errors`.

    :param metric: such as `test.block_error`, recorded by order as `metric.test.block_error.l0`, `….l1`, ….
    :param blocks: planned ones.
    :returns: arm, hidden_lmax (null where the hidden irreps are not recorded), l, reachable, trials, error, low,
        high; in the order of `arms`, without orders that an arm has no error for.
    """
    pattern = re.compile(re.escape(f"metric.{metric}.l") + r"(\d+)")
    orders = sorted(int(match[1]) for name in trials.columns if (match := pattern.fullmatch(name)))
    facts = _facts(trials) if orders else {}
    rows = []
    for order in orders:
        for summary in arm_errors(trials, f"{metric}.l{order}", arms, blocks):
            if summary.error is not None:
                lmax, unreachable = facts[summary.arm]
                rows.append(
                    {
                        "arm": summary.arm,
                        "hidden_lmax": lmax,
                        "l": order,
                        "reachable": order not in unreachable,
                        "trials": summary.trials,
                        "error": summary.error.value,
                        "low": summary.error.low,
                        "high": summary.error.high,
                    }
                )
    rows.sort(key=lambda row: arms.index(row["arm"]))
    schema = {"arm": pl.String, "hidden_lmax": pl.Int64, "l": pl.Int64, "reachable": pl.Boolean, "trials": pl.Int64}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(("error", "low", "high"), pl.Float64))


def _facts(trials: pl.DataFrame) -> dict[str, tuple[int | None, set[int]]]:
    """Arm → the largest order of its hidden irreps in the confirm stage, and the orders that it cannot reach."""
    columns = [name for name in ("unreachable", _IRREPS) if name in trials.columns]
    parts = trials.filter(pl.col("stage") == "confirm").select("arm", *columns).partition_by("arm", as_dict=True)
    return {str(arm): (hidden_lmax(rows), unreachable_orders(rows)) for (arm,), rows in parts.items()}


def unreachable_orders(trials: pl.DataFrame) -> set[int]:
    """Orders l in the column `unreachable` of one arm's trials, which holds irreps such as `1x4e`."""
    return {int(order) for text in trials["unreachable"].drop_nulls() for order in _ORDER.findall(text)}


def hidden_lmax(trials: pl.DataFrame) -> int | None:
    """Largest order of the hidden irreps of one arm's trials; None where they are not recorded."""
    if _IRREPS not in trials.columns:
        return None
    try:
        orders = [term.l for text in trials[_IRREPS].drop_nulls().unique() for term in parse_irreps(text)]
    except TesseralError:  # a user's own network may say something else here
        return None
    return max(orders, default=None)
