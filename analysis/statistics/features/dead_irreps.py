"""Irreps and product paths without a gradient in trained networks, compared with what the plan lists as dead.

The plan derives from the network's couplings which hidden irreps are dead: no path produces them, or none reads them.
Training measures the same independently. An irrep is dead if the gradient of the loss with respect to its features is
exactly zero in every trial of an arm.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from tesseral.analysis.statistics.features.layers import last_traces
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.wording import count, listed


class LayerIrrep(NamedTuple):
    """One irrep of one layer."""

    layer: int
    l: int  # noqa: E741 - the column's name
    p: int

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'} in layer {self.layer}"


class DeadIrreps(NamedTuple):
    """Irreps and paths of an arm whose gradient is exactly zero in every trial."""

    dead: tuple[LayerIrrep, ...]
    """Irreps whose features have no gradient."""
    unforeseen: tuple[LayerIrrep, ...]
    """Irreps of `dead` that the plan does not list."""
    alive: tuple[LayerIrrep, ...]
    """Irreps that the plan lists as dead, but whose features have a gradient."""
    paths: int
    """Number of product paths whose weights were traced, counted in each layer. A path whose weights are computed for
    each edge counts apart from one of the same name whose weights are parameters."""
    dead_paths: int
    """Number of those whose weights have no gradient."""
    wasted: tuple[str, ...]
    """Paths without a gradient whose output is not a dead irrep of the layer's features, in words, such as
    `messages: 0e x 2e -> 2e in layer 1`."""


def find_dead_irreps(rows: pl.DataFrame, planned: Iterable[LayerIrrep]) -> DeadIrreps | None:
    """Dead irreps of one arm at its last traces; None if no gradient was traced.

    :param rows: from `layers.layer_traces`, of this arm alone.
    :param planned: irreps that the plan lists as dead. Irreps that no path produces have no features and are ignored.
    """
    ended = last_traces(rows)
    of_features = _largest(ended.filter(pl.col("statistic") == "feature_gradient"))
    if not of_features.height:
        return None
    irreps = {LayerIrrep(layer, order, p): value for layer, order, p, *_, value in of_features.rows()}
    dead = {irrep for irrep, value in irreps.items() if value == 0}
    expected = set(planned) & irreps.keys()
    of_paths = _largest(ended.filter(pl.col("path").is_not_null()))
    zero = [(LayerIrrep(layer, order, p), path) for layer, order, p, path, _, value in of_paths.rows() if value == 0]
    return DeadIrreps(
        tuple(sorted(dead)),
        tuple(sorted(dead - expected)),
        tuple(sorted(expected - dead)),
        of_paths.height,
        len(zero),
        tuple(f"{path} in layer {irrep.layer}" for irrep, path in zero if irrep not in dead),
    )


def dead_irreps_by_arm(tables: StudyTables, rows: pl.DataFrame) -> dict[str, DeadIrreps]:
    """Arm → its dead irreps, in the study's order; without arms whose gradients were not traced.

    :param rows: from `layers.layer_traces`.
    """
    planned = (
        tables.trials.filter(pl.col("stage") == "confirm")
        .group_by("arm")
        .agg(pl.col("dead_irreps").drop_nulls().first())
    )
    listed_dead = {arm: [LayerIrrep(**irrep) for irrep in dead or ()] for arm, dead in planned.rows()}
    traced = set(rows["arm"])
    return {
        arm: dead
        for arm in tables.study.arms
        if arm in traced
        and (dead := find_dead_irreps(rows.filter(pl.col("arm") == arm), listed_dead.get(arm, ()))) is not None
    }


def dead_irrep_sentences(arms: Mapping[str, DeadIrreps]) -> list[str]:
    """Compare the measured gradients with the plan: one sentence for all arms that agree, then one for each deviation.

    :param arms: from `dead_irreps_by_arm`.
    """
    agreeing = [dead for dead in arms.values() if not (dead.unforeseen or dead.alive or dead.wasted)]
    sentences = []
    if agreeing:
        paths, dead_paths = sum(dead.paths for dead in agreeing), sum(dead.dead_paths for dead in agreeing)
        where = "every arm" if len(agreeing) == len(arms) else f"{len(agreeing)} of {len(arms)} arms"
        sentence = f"In {where}, the loss has a gradient with respect to the features of every produced irrep"
        if any(dead.dead for dead in agreeing):
            sentence += ", except the dead irreps that the plan lists (they change no output)"
        sentence += "."
        if paths:
            reached = f"{paths - dead_paths:,} of {paths:,}" if dead_paths else f"all {paths:,}"
            others = "; the other paths lead to dead irreps" if dead_paths else ""
            sentence += f" It has one with respect to the weights of {reached} traced product paths{others}."
        sentences.append(sentence)
    return sentences + [f"{arm}: {deviation}" for arm, dead in arms.items() for deviation in _deviations(dead)]


def _deviations(dead: DeadIrreps) -> Iterator[str]:
    """Each way in which an arm's gradients deviate from the plan, as a sentence without the arm's name."""
    if dead.unforeseen:
        yield (
            f"the gradient of the loss is zero with respect to the features {listed(dead.unforeseen)}, which are not "
            "among the dead irreps that the plan lists."
        )
    if dead.alive:
        yield (
            f"the plan lists {listed(dead.alive)} as dead, but the gradient of the loss is nonzero with respect to "
            "their features."
        )
    if dead.wasted:
        yield (
            "the gradient of the loss is zero with respect to the weights of "
            f"{count(len(dead.wasted), 'path')} whose output is not a dead irrep: {listed(dead.wasted)}."
        )


def _largest(rows: pl.DataFrame) -> pl.DataFrame:
    """The largest value over trials: layer, l, p, path, statistic, value, sorted.

    It is zero only if the value is zero in every trial: one trial may have a zero by chance.
    """
    key = ["layer", "l", "p", "path", "statistic"]
    return rows.group_by(key).agg(pl.col("value").max()).sort("layer", "path", "l", "p", "statistic")
