"""What arms with fusion diagrams cannot tell apart: topologies that make the same functions, bounds that cut none."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.independence import same_functions
from tesseral.models.networks.paths.path import Path
from tesseral.models.networks.paths.selection_rules import SCALAR, IrrepSet, harmonics
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion, Network
from tesseral.study.parsing.fusion_tree import Tree, parse_tree
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.wording import listed_labels


def fusion_notes(plan: StudyPlan) -> Iterator[str]:
    """A sentence for each set of arms that differ in their diagram alone and whose diagrams make the same functions,
    and for each bound on internal edges that cuts none.

    Of a layer that has all hidden irreps: in the first one, whose features are scalars, fewer paths are open.
    """
    alike: dict[Configuration, list[_Fused]] = defaultdict(list)
    for arm in plan.arms:
        configuration = arm.arm.configuration.resolved()
        network = configuration.network
        if network.fusion.diagram != "none" and network.define is None:
            rest = replace(configuration, network=replace(network, fusion=Fusion(channels=network.fusion.channels)))
            alike[rest].append(_Fused(arm.label, network))
    uncut: dict[tuple[str, int | None], list[str]] = defaultdict(list)
    for found in alike.values():
        for one in found:
            if not one.cuts and one.network.fusion.bound is not None:
                uncut[str(one.tree), one.network.fusion.bound].append(one.label)
        for same in _classes(found):
            if len(same) > 1:
                yield (
                    f"{listed_labels([one.label for one in same])} make the same functions, for {_reason(same)}; "
                    "topologies differ where leaves are distinct and k_max cuts"
                )
    for (tree, k_max), labels in uncut.items():
        yield f"k_max = {k_max} cuts nothing of what {tree} makes: {listed_labels(labels)}"


@dataclass(frozen=True)
class _Fused:
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
        hidden = frozenset((term.l, term.p) for term in parse_irreps(self.network.hidden.irreps or ""))
        edges = harmonics(self.network.harmonics_lmax)
        gathered, made = {
            "gated": (_gates(hidden), _gates(hidden)),
            "cormorant": (hidden, hidden),
            "mace": (hidden | edges, hidden),
        }[self.network.interaction]
        return paths(self.tree, {"centre": hidden, "neighbours": gathered, "edges": edges}, made, k_max)


def _gates(hidden: IrrepSet) -> IrrepSet:
    return hidden | {SCALAR} if any(order for order, _ in hidden) else hidden


def _classes(found: list[_Fused]) -> list[list[_Fused]]:
    """Arms whose diagrams make the same functions, together."""
    classes: list[list[_Fused]] = []
    for one in found:
        for same in classes:
            if sorted(same[0].tree.leaves) == sorted(one.tree.leaves) and same_functions(same[0].paths, one.paths):
                same.append(one)
                break
        else:
            classes.append([one])
    return classes


def _reason(same: list[_Fused]) -> str:
    if any(one.cuts for one in same):
        return "what their bounds leave is the same"
    bounded = any(one.network.fusion.bound is not None for one in same)
    none_cut = "no k_max cuts any of them" if bounded else "internal edges are not bounded"
    if len({one.tree for one in same}) == 1:
        return none_cut
    if len(set(same[0].tree.leaves)) == 1:
        return f"their leaves are equal and {none_cut}"
    return f"{none_cut}, and recoupling turns one tree into the other"
