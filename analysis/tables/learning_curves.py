"""Learning curves of a study's trials, as a report shows them."""

import polars as pl

from tesseral.study.configuration.trial import State


def learning(curves: pl.LazyFrame, trials: pl.DataFrame, metrics: list[str]) -> pl.DataFrame:
    """Curves of the confirm stage's trials that have not failed, on the validation split, else on the training split.

    :param curves: rows of `study.records.CURVES`.
    :param metrics: names as in the column `metric`.
    :returns: arm, trial, epoch, split, metric, l, value, sorted; one split a metric.
    """
    dead = [State.FAILED.value, State.PRUNED.value]
    shown = trials.filter(pl.col("stage") == "confirm", ~pl.col("state").is_in(dead)).select("trial", "arm")
    rows = (
        curves.filter(pl.col("metric").is_in(metrics), pl.col("split").is_in(["train", "validation"]))
        .join(shown.lazy(), on="trial")
        .select("arm", "trial", "epoch", "split", "metric", "l", "value")
        .collect()
    )
    # "validation" sorts after "train", so the largest name of a metric's splits is the one to show.
    return rows.filter(pl.col("split") == pl.col("split").max().over("metric")).sort(
        "metric", "arm", "trial", "l", "epoch"
    )
