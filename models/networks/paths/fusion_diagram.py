"""What a fusion diagram holds: its admissible paths and its parameters, without torch."""

from collections import Counter

from tesseral.models.networks.paths.fusion_paths import Path, paths
from tesseral.models.networks.paths.selection_rules import Orders
from tesseral.study.parsing.fusion_diagram import FusionDiagram
from tesseral.study.parsing.irreps import MulIrrep


def diagram_paths(diagram: FusionDiagram) -> tuple[Path, ...]:
    """Its independent admissible paths, of which each has `diagram.channels` channels; see `paths`."""
    leaves = {name: _orders(irreps) for name, irreps in diagram.leaves}
    return paths(diagram.tree, leaves, _orders(diagram.roots), diagram.k_max)


def diagram_parameters(diagram: FusionDiagram) -> int:
    """Trainable numbers of its `FusionBlock`, with C channels and n_L paths to the root L:

        Σ_leaves Σ_irreps mul·C + Σ_L n_L·C·mul_L,

    and none if nothing reaches the root.
    """
    found = Counter(path.irrep for path in diagram_paths(diagram))
    if not found:
        return 0
    before = sum(term.mul for _, irreps in diagram.leaves for term in irreps)
    after = sum(found[term.l, term.p] * term.mul for term in diagram.roots)
    return diagram.channels * (before + after)


def _orders(irreps: tuple[MulIrrep, ...]) -> Orders:
    return frozenset((term.l, term.p) for term in irreps)
