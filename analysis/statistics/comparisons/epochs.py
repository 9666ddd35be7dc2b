"""The change against the baseline at every recorded epoch: whether a verdict depends on when training stopped.

At each epoch, arms are compared in pairs (block, replicate) as at the end (`paired`), by the validation error that
stands for the study's metric during training (`tables.learning_curves.curve_metrics`): ε itself is measured during
training only where `traces.densities` asks for it, on that many validation structures. Pairs of complete trials count.
Intervals are for new data, or where there is none for these data, and pointwise: each epoch covers at 95 % by itself,
no correction is made over epochs, and errors of successive epochs are not independent.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.paired import relative_change
from tesseral.analysis.tables.learning_curves import curve_metrics
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.configuration.trial import State
from tesseral.study.wording import listed

_MOST_EPOCHS = 40
"""Most epochs at which arms are compared: of more, evenly chosen ones with the last."""
_MOST_ARMS = 4
"""With more arms than this, counts replace their names."""
_PLACE = ["block", "replicate"]
_SCHEMA = {
    **dict.fromkeys(("arm", "baseline", "split", "metric"), pl.String),
    **dict.fromkeys(("epoch", "pairs"), pl.Int64),
    **dict.fromkeys(("change", "low", "high"), pl.Float64),
}


def epoch_changes(tables: StudyTables, curves: pl.DataFrame) -> pl.DataFrame:
    """The change of each arm against its baseline at the epochs that its curves hold.

    :param curves: from `tables.learning_curves.learning_curves`.
    :returns: arm, baseline, split, metric, epoch, pairs, change, low, high (percent; see `Estimate.shown`), in the
        order of the study's arms, epochs ascending.
    """
    rows = [row for part in tables.by_group() for row in _of_group(part, curves)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _of_group(tables: StudyTables, curves: pl.DataFrame) -> list[tuple[object, ...]]:
    study = tables.study
    complete = tables.trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    whole = curves.filter(pl.col("l").is_null(), pl.col("value") > 0, pl.col("arm").is_in(list(study.arms)))
    metric = next((name for name in curve_metrics(study.metric) if name in whole["metric"]), None)
    if metric is None:
        return []
    errors = whole.filter(pl.col("metric") == metric).join(
        complete.select("arm", "trial", *_PLACE), on=["arm", "trial"]
    )
    parts = errors.partition_by("arm", as_dict=True)
    rows: list[tuple[object, ...]] = []
    for arm in study.arms:
        base = study.baseline_of(arm)
        if base is None or base == arm or (arm,) not in parts or (base,) not in parts:
            continue
        pairs = parts[arm,].join(parts[base,], on=["epoch", *_PLACE], suffix="_baseline")
        ratios = pairs.with_columns(ratio=(pl.col("value") / pl.col("value_baseline")).log())
        by_epoch = ratios.sort(_PLACE).partition_by("epoch", as_dict=True)
        for epoch in _chosen(sorted(key for (key,) in by_epoch)):
            part = by_epoch[epoch,]
            change = relative_change(part, part["ratio"].to_numpy(), study.sampling, arm, base)
            place = (arm, base, part["split"][0], metric, epoch, part.height)
            rows.append((*place, change.value, *change.shown))
    return rows


def _chosen(epochs: Sequence[int]) -> list[int]:
    """At most `_MOST_EPOCHS` of these epochs, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(epochs) - 1, min(len(epochs), _MOST_EPOCHS)).round().astype(int)
    return [epochs[place] for place in places]


def epoch_sentences(changes: pl.DataFrame) -> list[str]:
    """Whether the change at the end was there before: a phrase for each arm, or a count if there are many.

    :param changes: from `epoch_changes`, with intervals for new data. Arms without one at the last epoch are left out.
    """
    runs = {
        (arm, base): _runs(part)
        for (arm, base), part in changes.group_by("arm", "baseline", maintain_order=True)
        if part["low"][-1] is not None
    }
    if not runs:
        return []
    head = f"By the interval of each of {changes['epoch'].n_unique()} epochs by itself"
    if len(runs) <= _MOST_ARMS:
        phrases = [f"the error of {arm} is {_phrase(own, base)}" for (arm, base), own in runs.items()]
        return [f"{head}, {listed(phrases)}."]
    otherwise = sum(bool(_before(own)) for own in runs.values())
    return [
        f"{head}, {otherwise} of {len(runs)} arms would have been decided otherwise at an earlier epoch than at the "
        "last one."
    ]


class _Run(NamedTuple):
    """Successive epochs at which an interval is on one side of zero, or includes it (side 0)."""

    side: int
    first: int
    last: int


def _runs(changes: pl.DataFrame) -> list[_Run]:
    """The runs of one arm, in order; epochs without an interval count as undecided."""
    sided = changes.select(
        "epoch", side=pl.when(pl.col("low") > 0).then(1).when(pl.col("high") < 0).then(-1).otherwise(0)
    )
    runs = []
    for side, group in groupby(sided.iter_rows(), key=itemgetter(1)):
        epochs = [epoch for epoch, _ in group]
        runs.append(_Run(side, epochs[0], epochs[-1]))
    return runs


def _before(runs: Sequence[_Run]) -> list[_Run]:
    """Earlier runs that were decided, and otherwise than the last one."""
    return [run for run in runs if run.side not in (0, runs[-1].side)]


def _phrase(runs: Sequence[_Run], baseline: str) -> str:
    """What the epochs of one arm show, such as `lower than that of lmax=0 from epoch 12 on`."""
    sides = {
        -1: f"lower than that of {baseline}",
        0: f"undecided against that of {baseline}",
        1: f"higher than that of {baseline}",
    }
    last = runs[-1]
    text = sides[last.side] + (f" from epoch {last.first} on" if len(runs) > 1 else " at every epoch")
    before = [f"{'lower' if run.side < 0 else 'higher'} at {_epochs(run)}" for run in _before(runs)]
    return f"{text} ({listed(before)})" if before else text


def _epochs(run: _Run) -> str:
    return f"epoch {run.first}" if run.first == run.last else f"epochs {run.first} to {run.last}"
