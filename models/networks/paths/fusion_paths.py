"""The paths of a fusion diagram: what it makes of its leaves' irreps, by selection rules and symmetry, without torch.

A path labels a tree: every leaf with one of its irreps, every internal edge with an irrep of l ≤ k_max, and the root,
so that each vertex obeys the selection rules. Leaves of one name are the same features, of which some paths are zero,
such as 1o ⊗ 1o → 1e of one vector, and others dependent: of those, a maximal independent set is kept.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import product as pairs

from tesseral.models.networks.paths.independence import Rank
from tesseral.models.networks.paths.independence import multiplicity as multiplicity
from tesseral.models.networks.paths.path import Leaf as Leaf
from tesseral.models.networks.paths.path import Path as Path
from tesseral.models.networks.paths.path import Vertex as Vertex
from tesseral.models.networks.paths.selection_rules import Irrep, Orders, product
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_diagram import FusionDiagram
from tesseral.study.parsing.fusion_tree import Tree, canonical, leaf_names
from tesseral.study.parsing.irreps import MulIrrep

MOST = 50_000
"""Labellings at one vertex beyond which a diagram is refused."""


def paths(tree: Tree | str, leaves: Mapping[str, Orders], roots: Orders, k_max: int | None = None) -> tuple[Path, ...]:
    """The paths of a tree, by the irrep of their root in canonical order; computed once for each question.

    The tree is taken in its canonical form (`Tree.canonical`), so diagrams that coincide have equal paths. Vertices are
    visited from the leaves up; at each, the candidates are all products of kept paths on its left with kept paths on
    its right, in that order, and one is kept if it is independent of those kept before it. What is left out is a
    combination of what is kept, so everything that the tree can make is a combination of the paths.

    :param tree: or the name of a leaf, whose paths are its irreps.
    :param leaves: irreps of the features that each leaf stands for.
    :param roots: irreps wanted of the root.
    :param k_max: largest l of internal edges, of either parity; the root is none.
    :raises TesseralError: if there are more than `MOST` labellings of a vertex.
    """
    shape = canonical(tree)
    return _paths(shape, tuple((name, leaves[name]) for name in sorted(set(leaf_names(shape)))), roots, k_max)


@lru_cache(maxsize=1024)
def _paths(
    tree: Tree | str, leaves: tuple[tuple[str, Orders], ...], roots: Orders, k_max: int | None
) -> tuple[Path, ...]:
    return _Search(dict(leaves), k_max).independent(tree, roots)


class _Search:
    """Independent paths of a tree and its subtrees."""

    def __init__(self, leaves: Mapping[str, Orders], k_max: int | None) -> None:
        self.leaves, self.k_max = leaves, k_max
        self.rank = Rank()

    def reach(self, tree: Tree | str) -> Orders:
        """What selection rules and `k_max` allow of a subtree's root."""
        if isinstance(tree, str):
            return self.leaves[tree]
        made = product(self.reach(tree.left), self.reach(tree.right))
        return frozenset(irrep for irrep in made if self.k_max is None or irrep[0] <= self.k_max)

    def independent(self, tree: Tree | str, wanted: Orders) -> tuple[Path, ...]:
        """Independent paths of a subtree whose root is one of `wanted`.

        Those of one irrep do not depend on which others are wanted: subtrees that trees share have the same paths.
        """
        if isinstance(tree, str):
            return tuple(Leaf(tree, irrep) for irrep in in_order(self.leaves[tree] & wanted))
        left = self.independent(tree.left, self._useful(tree.left, tree.right, wanted))
        right = self.independent(tree.right, self._useful(tree.right, tree.left, wanted))
        found = [
            Vertex(one, other, irrep)
            for irrep in in_order(wanted)
            for one, other in pairs(left, right)
            if allowed(one.irrep, other.irrep, irrep)
        ]
        if len(found) > MOST:
            raise TesseralError(
                f"expected a fusion diagram of at most {MOST} labellings at a vertex, got {len(found)} at {tree}; fuse "
                "fewer leaves, leaves of fewer irreps, or give k_max"
            )
        # What shares no features is independent: products of independent functions of different variables are.
        if set(leaf_names(tree.left)).isdisjoint(leaf_names(tree.right)):
            return tuple(found)
        return tuple(self.rank.first_independent(found))

    def _useful(self, child: Tree | str, other: Tree | str, wanted: Orders) -> Orders:
        """Irreps of a child that, with one of the other child's, can make one of `wanted`."""
        others = self.reach(other)
        return frozenset(one for one in self.reach(child) if product(frozenset({one}), others) & wanted)


def allowed(left: Irrep, right: Irrep, made: Irrep) -> bool:
    """The selection rules of one vertex."""
    return abs(left[0] - right[0]) <= made[0] <= left[0] + right[0] and left[1] * right[1] == made[1]


def in_order(irreps: Orders) -> list[Irrep]:
    """By l, even before odd."""
    return sorted(irreps, key=lambda irrep: (irrep[0], -irrep[1]))


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
