"""Notes on fusion diagrams: arms whose topologies make the same functions, and bounds that keep all."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.independence import same_functions
from tesseral.models.networks.paths.path import Path
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion, Network
from tesseral.study.parsing.fusion_tree import Tree, layer_irreps, parse_tree
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.wording import listed_labels


def fusion_notes(plan: StudyPlan) -> Iterator[str]:
    """Name arms that differ in their diagram alone and make the same functions, and bounds that keep all functions.

    Both are found for a layer whose input has all hidden irreps, see `layer_irreps`.

    :param plan: the study's.
    :returns: one sentence for each set and for each bound on internal edges.
    """
    alike: dict[Configuration, list[_FusedArm]] = defaultdict(list)
    for planned in plan.arms:
        configuration = planned.arm.configuration.resolved()
        network = configuration.network
        if network.fusion.diagram != "none" and network.define is None:
            rest = replace(configuration, network=replace(network, fusion=Fusion(channels=network.fusion.channels)))
            alike[rest].append(_FusedArm(planned.label, network))
    uncut: dict[tuple[str, int | None], list[str]] = defaultdict(list)
    for fused in alike.values():
        for arm in fused:
            if not arm.cuts and arm.network.fusion.bound is not None:
                uncut[str(arm.tree), arm.network.fusion.bound].append(arm.label)
        for same in _classes(fused):
            if len(same) > 1:
                yield (
                    f"{listed_labels([one.label for one in same])} make the same functions, because {_reason(same)}; "
                    "topologies differ if leaves are distinct and k_max excludes some functions"
                )
    for (tree, k_max), labels in uncut.items():
        yield f"k_max = {k_max} keeps all functions of {tree}: {listed_labels(labels)}"


@dataclass(frozen=True)
class _FusedArm:
    """An arm with a diagram."""

    label: str
    network: Network

    @cached_property
    def tree(self) -> Tree:
        return parse_tree(self.network.fusion.diagram)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        return self._paths(self.network.fusion.bound)

    @cached_property
    def cuts(self) -> bool:
        """Whether the bound leaves out a function."""
        return len(self.paths) < len(self._paths(None))

    def _paths(self, k_max: int | None) -> tuple[Path, ...]:
        hidden = ((term.l, term.p) for term in parse_irreps(self.network.hidden.irreps or ""))
        leaves, roots = layer_irreps(self.network.interaction, hidden, self.network.harmonics_lmax)
        return paths(self.tree, leaves, roots, k_max)


def _classes(fused: list[_FusedArm]) -> list[list[_FusedArm]]:
    """Group the arms whose diagrams make the same functions."""
    classes: list[list[_FusedArm]] = []
    for one in fused:
        for same in classes:
            if sorted(same[0].tree.leaves) == sorted(one.tree.leaves) and same_functions(same[0].paths, one.paths):
                same.append(one)
                break
        else:
            classes.append([one])
    return classes


def _reason(same: list[_FusedArm]) -> str:
    if any(one.cuts for one in same):
        return "their bounds keep the same functions"
    bounded = any(one.network.fusion.bound is not None for one in same)
    all_kept = "k_max keeps all of their functions" if bounded else "internal edges are not bounded"
    if len({one.tree for one in same}) == 1:
        return all_kept
    if len(set(same[0].tree.leaves)) == 1:
        return f"their leaves are equal and {all_kept}"
    return f"{all_kept}, and recoupling turns one tree into the other"
