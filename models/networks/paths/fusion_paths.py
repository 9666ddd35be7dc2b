"""The independent paths of a fusion diagram: what a tree of Clebsch-Gordan products makes of its leaves' irreps.

A path labels every leaf of the tree with an irrep of its features, every internal edge with an irrep of l ≤ k_max, and
the root with a wanted irrep, so that each vertex obeys the selection rules.

Leaves of the same name stand for the same features. Some paths then vanish, such as 1o ⊗ 1o → 1e of a vector with
itself, and others are linear combinations of each other. Of those a maximal independent set is kept, so that no weight
of a network multiplies zero or repeats another one.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import product as pairs

from tesseral.models.networks.paths.independence import Rank
from tesseral.models.networks.paths.path import Leaf, Path, Vertex
from tesseral.models.networks.paths.selection_rules import IrrepSet, allowed, in_order, product
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import Tree, canonical, leaf_names

MAX_LABELLINGS = 50_000
"""Labellings at one vertex above which a diagram is rejected."""


def paths(
    tree: Tree | str, leaves: Mapping[str, IrrepSet], roots: IrrepSet, k_max: int | None = None
) -> tuple[Path, ...]:
    """Find the independent paths of a tree, sorted by the irrep of their root; results are cached.

    The tree is brought to canonical form first (`Tree.canonical`), so equivalent diagrams have equal paths. Vertices
    are visited from the leaves to the root. At each vertex the candidates are all products of the paths kept on its
    left with those kept on its right, and a candidate is kept if it is independent of the ones kept before it. Rejected
    candidates are linear combinations of kept ones, so the paths span everything that the tree can make.

    :param tree: a fusion tree, or the name of a single leaf, whose paths are its irreps.
    :param leaves: irreps of the features of each leaf.
    :param roots: irreps wanted at the root.
    :param k_max: largest l on internal edges, for either parity; None sets no limit. The root is not limited.
    :raises TesseralError: if a vertex has more than `MAX_LABELLINGS` labellings.
    """
    shape = canonical(tree)
    return _paths(shape, tuple((name, leaves[name]) for name in sorted(set(leaf_names(shape)))), roots, k_max)


@lru_cache(maxsize=1024)
def _paths(
    tree: Tree | str, leaves: tuple[tuple[str, IrrepSet], ...], roots: IrrepSet, k_max: int | None
) -> tuple[Path, ...]:
    return _Search(dict(leaves), k_max).independent(tree, roots)


class _Search:
    """The independent paths of a tree and its subtrees."""

    def __init__(self, leaves: Mapping[str, IrrepSet], k_max: int | None) -> None:
        self.leaves, self.k_max = leaves, k_max
        self.rank = Rank()

    def reach(self, tree: Tree | str) -> IrrepSet:
        """Irreps that selection rules and `k_max` allow at the root of a subtree."""
        if isinstance(tree, str):
            return self.leaves[tree]
        products = product(self.reach(tree.left), self.reach(tree.right))
        return frozenset(irrep for irrep in products if self.k_max is None or irrep[0] <= self.k_max)

    def independent(self, tree: Tree | str, wanted: IrrepSet) -> tuple[Path, ...]:
        """Independent paths of a subtree to the irreps `wanted`.

        The paths to one irrep do not depend on which others are wanted, so equal subtrees of different trees have
        equal paths.
        """
        if isinstance(tree, str):
            return tuple(Leaf(tree, irrep) for irrep in in_order(self.leaves[tree] & wanted))
        lefts = self.independent(tree.left, self._useful(tree.left, tree.right, wanted))
        rights = self.independent(tree.right, self._useful(tree.right, tree.left, wanted))
        candidates = [
            Vertex(left, right, irrep)
            for irrep in in_order(wanted)
            for left, right in pairs(lefts, rights)
            if allowed(left.irrep, right.irrep, irrep)
        ]
        if len(candidates) > MAX_LABELLINGS:
            raise TesseralError(
                f"expected a fusion diagram of at most {MAX_LABELLINGS} labellings at a vertex, got {len(candidates)} "
                f"at {tree}; fuse fewer leaves, leaves of fewer irreps, or give k_max"
            )
        # Products of independent functions of different variables are independent: without a shared leaf there is
        # nothing to eliminate.
        if set(leaf_names(tree.left)).isdisjoint(leaf_names(tree.right)):
            return tuple(candidates)
        return tuple(self.rank.first_independent(candidates))

    def _useful(self, child: Tree | str, sibling: Tree | str, wanted: IrrepSet) -> IrrepSet:
        """Irreps of a child whose product with some irrep of its sibling contains one of `wanted`."""
        partners = self.reach(sibling)
        return frozenset(irrep for irrep in self.reach(child) if product(frozenset({irrep}), partners) & wanted)
