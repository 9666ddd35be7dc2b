"""What the layers of trained networks hold and use, by order l: from the traces of a study's complete trials.

Parities are joined: effective ranks are added, for features of two parities are different ones; of weights the root
mean square of both parities stands for the order.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from tesseral.study.trial import State

_FEATURES = ("rms", "effective_rank", "feature_gradient", "weight_rms", "gradient_rms")
_ABLATIONS = ("ablation_none", "ablation_zero", "ablation_shuffle")
_OF_PATHS = ("gradient_rms", "edge_gradient_rms")
_CLAUSE = re.compile(r"(\d+[eo](?:\+\d+[eo])*) in (every layer|layers? [\d, and]+) (?:is|are) ")


def layer_rows(traces: pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """The rows of traces that this module reads, of complete trials of the confirm stage, read at once.

    :param traces: rows of `study.records.TRACES`.
    :returns: arm, trial, epoch, layer, path, l, p, statistic, value; finite values alone.
    """
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    of_path = pl.col("path").is_not_null() & pl.col("statistic").is_in(_OF_PATHS)
    of_layer = pl.col("path").is_null() & pl.col("statistic").is_in([*_FEATURES, *_ABLATIONS])
    return (
        traces.filter(of_path | of_layer, pl.col("value").is_finite())
        .join(complete.lazy().select("trial", "arm"), on="trial")
        .select("arm", "trial", "epoch", "layer", "path", "l", "p", "statistic", "value")
        .collect()
    )


def effective_ranks(rows: pl.DataFrame) -> pl.DataFrame:
    """At the end of training, means over trials: arm, layer, l, rank, sorted."""
    return (
        _last(rows)
        .filter(pl.col("statistic") == "effective_rank")
        .group_by("arm", "trial", "layer", "l")
        .agg(rank=pl.col("value").sum())
        .group_by("arm", "layer", "l")
        .agg(pl.col("rank").mean())
        .sort("arm", "layer", "l")
    )


def gradients(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the weights that make the last hidden layer, their root mean square times that of the loss's gradient by them.

    In the loss's unit: what an equal relative change of these weights does to it. Geometric means over trials; weights
    without a gradient are left out.

    :returns: arm, epoch, l, effect, sorted.
    """
    hidden = rows.filter(pl.col("statistic") == "rms").select(pl.col("layer").max()).item()
    of_weights = rows.filter(pl.col("path").is_null(), pl.col("layer") == hidden) if hidden else rows.clear()
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


def ablations(rows: pl.DataFrame) -> pl.DataFrame:
    """Errors with the features of one order in one layer taken away, means over trials.

    :returns: arm, layer, l, kind (zero or shuffle), error, intact (the error of the same networks as they are), sorted.
    """
    found = rows.filter(pl.col("statistic").is_in(_ABLATIONS))
    intact = found.filter(pl.col("statistic") == "ablation_none").select("trial", pl.col("value").alias("intact"))
    return (
        found.filter(pl.col("statistic") != "ablation_none")
        .join(intact, on="trial")
        .group_by("arm", "layer", "l", kind=pl.col("statistic").str.strip_prefix("ablation_"))
        .agg(error=pl.col("value").mean(), intact=pl.col("intact").mean())
        .sort("arm", "layer", "l", "kind", descending=[False, False, False, True])
    )


class Irrep(NamedTuple):
    """One irrep of one layer."""

    layer: int
    l: int  # noqa: E741 - the column's name
    p: int

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'} in layer {self.layer}"


class Audit(NamedTuple):
    """What no gradient of the loss reaches in the trained networks of an arm."""

    dead: tuple[Irrep, ...]
    """Irreps by which every trial's gradient is exactly zero."""
    unforeseen: tuple[Irrep, ...]
    """Those of them that the plan does not name."""
    alive: tuple[Irrep, ...]
    """Those that the plan calls dead and by which there is a gradient."""
    paths: int
    """Paths of tensor products, of all layers."""
    dead_paths: int
    """Those by whose weights every trial's gradient is exactly zero."""
    wasted: tuple[str, ...]
    """Those of them that make an irrep that is not dead itself."""


def audit(rows: pl.DataFrame, planned: str | None) -> Audit | None:
    """The audit of one arm, at its last traces; None where no gradient was traced.

    :param rows: of `layer_rows`, of this arm alone.
    :param planned: the column `dead` of `study.records.TRIALS`.
    """
    last = _last(rows)
    of_features = _largest(last.filter(pl.col("statistic") == "feature_gradient"))
    if not of_features.height:
        return None
    irreps = {Irrep(*key): value for *key, _, value in of_features.rows()}
    dead = {irrep for irrep, value in irreps.items() if value == 0}
    expected = set(planned_dead(planned or "", max(irrep.layer for irrep in irreps))) & irreps.keys()
    of_paths = _largest(last.filter(pl.col("path").is_not_null()))
    zero = [(Irrep(*key), path) for *key, path, value in of_paths.rows() if value == 0]
    return Audit(
        tuple(sorted(dead)),
        tuple(sorted(dead - expected)),
        tuple(sorted(expected - dead)),
        of_paths.height,
        len(zero),
        tuple(f"{path} of {irrep}" for irrep, path in zero if irrep not in dead),
    )


def planned_dead(text: str, layers: int) -> Iterator[Irrep]:
    """The irreps named in words such as `0o in layer 3 is read by nothing; 1e+2o in layers 1 and 2 are …`."""
    for match in _CLAUSE.finditer(text):
        numbers = range(1, layers + 1) if match[2] == "every layer" else map(int, re.findall(r"\d+", match[2]))
        for number in numbers:
            yield from (Irrep(number, int(name[:-1]), 1 if name[-1] == "e" else -1) for name in match[1].split("+"))


def _largest(rows: pl.DataFrame) -> pl.DataFrame:
    """layer, l, p, path and the largest value over trials and statistics, sorted."""
    return rows.group_by("layer", "l", "p", "path").agg(pl.col("value").max()).sort("layer", "path", "l", "p")


def _last(rows: pl.DataFrame) -> pl.DataFrame:
    """Those of each trial's last trace."""
    return rows.filter(pl.col("epoch") == pl.col("epoch").max().over("trial"))
