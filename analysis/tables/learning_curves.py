"""Learning curves of a study's trials, as a report shows them."""

import polars as pl

from tesseral.analysis.tables.load import StudyTables
from tesseral.study.configuration.trial import State

BY_ORDER = ("block_error", "relative_error")
"""Metrics that are recorded by order l; the first one that a target has is drawn."""


def curve_metrics(metric: str) -> list[str]:
    """Metrics that can stand for a study's metric during training, the best first.

    :param metric: such as `test.epsilon`. ε needs a grid, and is measured
        during training only where `traces.densities` asks for it, hence the stand-ins.
    """
    return [metric.partition(".")[2], "l2_error", "loss"]


def learning_curves(tables: StudyTables) -> pl.DataFrame:
    """Curves of the study's metric, or of what stands for it, and of the errors by order; finite values only.

    :returns: arm, trial, epoch, split, metric, l, value, sorted; l is null for an error of the whole.
    :raises FileNotFoundError: if a file was compacted since `tables` were loaded; see `tesseral.read_study`.
    """
    metrics = [*curve_metrics(tables.study.metric), *BY_ORDER]
    curves = confirm_curves(tables.curves, tables.trials, metrics)
    return curves.filter(pl.col("value").is_finite())


def confirm_curves(curves: pl.LazyFrame, trials: pl.DataFrame, metrics: list[str]) -> pl.DataFrame:
    """Curves of the confirm stage's trials that have not failed, on the validation split if recorded, else training.

    :param curves: rows of `study.records.schemas.CURVES`.
    :param metrics: names as in the column `metric`.
    :returns: arm, trial, epoch, split, metric, l, value, sorted; one split for each metric.
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
