"""What no gradient of the loss reaches in trained networks, beside what the plan calls dead."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from tesseral.analysis.statistics.layers import last
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.wording import listed


class Irrep(NamedTuple):
    """One irrep of one layer."""

    layer: int
    l: int  # noqa: E741 - the column's name
    p: int

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'} in layer {self.layer}"


class DeadIrreps(NamedTuple):
    """What no gradient of the loss reaches in the trained networks of an arm."""

    dead: tuple[Irrep, ...]
    """Irreps by which every trial's gradient is exactly zero."""
    unforeseen: tuple[Irrep, ...]
    """Those of them that the plan does not name."""
    alive: tuple[Irrep, ...]
    """Those that the plan calls dead and by which there is a gradient."""
    paths: int
    """Paths of products whose weights were traced, each of each layer by itself; those of one text whose weights are
    computed for each edge are another path than those whose weights are parameters."""
    dead_paths: int
    """Those by whose weights every trial's gradient is exactly zero."""
    wasted: tuple[str, ...]
    """Those of them that do not make a dead irrep of their layer's features, in words: `messages: 0e x 2e -> 2e in
    layer 1`. They make another irrep, or one that the layer has inside alone."""


def find_dead_irreps(rows: pl.DataFrame, planned: Iterable[Irrep]) -> DeadIrreps | None:
    """The audit of one arm, at its last traces; None where no gradient was traced.

    :param rows: of `layer_traces`, of this arm alone.
    :param planned: what the plan calls dead; of what nothing makes there is no feature, and it is passed over.
    """
    ended = last(rows)
    of_features = _largest(ended.filter(pl.col("statistic") == "feature_gradient"))
    if not of_features.height:
        return None
    irreps = {Irrep(layer, order, p): value for layer, order, p, *_, value in of_features.rows()}
    dead = {irrep for irrep, value in irreps.items() if value == 0}
    expected = set(planned) & irreps.keys()
    of_paths = _largest(ended.filter(pl.col("path").is_not_null()))
    zero = [(Irrep(layer, order, p), path) for layer, order, p, path, _, value in of_paths.rows() if value == 0]
    return DeadIrreps(
        tuple(sorted(dead)),
        tuple(sorted(dead - expected)),
        tuple(sorted(expected - dead)),
        of_paths.height,
        len(zero),
        tuple(f"{path} in layer {irrep.layer}" for irrep, path in zero if irrep not in dead),
    )


def dead_irreps_by_arm(tables: StudyTables, rows: pl.DataFrame) -> dict[str, DeadIrreps]:
    """Arm → its audit, in the study's order, of arms of which gradients were traced.

    :param rows: of `layers.layer_traces`.
    """
    planned = (
        tables.trials.filter(pl.col("stage") == "confirm")
        .group_by("arm")
        .agg(pl.col("dead_irreps").drop_nulls().first())
    )
    named = {arm: [Irrep(**one) for one in dead or ()] for arm, dead in planned.rows()}
    own = set(rows["arm"])
    return {
        arm: one
        for arm in tables.study.arms
        if arm in own and (one := find_dead_irreps(rows.filter(pl.col("arm") == arm), named.get(arm, ()))) is not None
    }


def dead_irrep_sentences(found: Mapping[str, DeadIrreps]) -> list[str]:
    """Sentences on what no gradient of the loss reaches in the trained networks, beside what the plan calls dead.

    They speak of those paths of products whose weights were traced.

    :param found: of `dead_irreps_by_arm`.
    """
    foreseen = [one for one in found.values() if not (one.unforeseen or one.alive or one.wasted)]
    lines = []
    if foreseen:
        paths, dead_paths = sum(one.paths for one in foreseen), sum(one.dead_paths for one in foreseen)
        where = "every arm" if len(foreseen) == len(found) else f"{len(foreseen)} of {len(found)} arms"
        told = f"In {where} the loss has a gradient by the features of every irrep"
        if any(one.dead for one in foreseen):
            told += " but those that the plan says nothing reads"
        if paths:
            reached = f"all {paths:,}" if not dead_paths else f"{paths - dead_paths:,} of {paths:,}"
            told += f", and by the weights of {reached} paths of products that were traced"
        lines.append(f"{told}{', all but those into such irreps' if dead_paths else ''}.")
    return lines + [f"{arm}: {sentence}" for arm, one in found.items() for sentence in _differing(one)]


def _differing(one: DeadIrreps) -> Iterator[str]:
    if one.unforeseen:
        unforeseen = listed(one.unforeseen)
        yield f"the loss has no gradient by the features {unforeseen}, which the plan does not call dead."
    if one.alive:
        yield f"the plan calls {listed(one.alive)} dead, yet there is a gradient."
    if one.wasted:
        number = f"{len(one.wasted)} path{'s' if len(one.wasted) > 1 else ''}"
        made = "makes" if len(one.wasted) == 1 else "make"
        yield f"no gradient reaches the weights of {number} that {made} no dead feature: {listed(one.wasted)}."


def _largest(rows: pl.DataFrame) -> pl.DataFrame:
    """layer, l, p, path, statistic and the largest value over trials, sorted."""
    key = ["layer", "l", "p", "path", "statistic"]
    return rows.group_by(key).agg(pl.col("value").max()).sort("layer", "path", "l", "p", "statistic")
