"""Labelled trees: paths of a fusion diagram. Two that share a vertex hold equal ones."""

from dataclasses import dataclass
from functools import cached_property

from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.study.parsing.fusion_tree import Tree


@dataclass(frozen=True)
class Leaf:
    """One irrep of the features that a leaf stands for."""

    name: str
    irrep: Irrep

    @property
    def shape(self) -> str:
        """What it is a labelling of."""
        return self.name

    @property
    def leaves(self) -> tuple["Leaf", ...]:
        """Itself."""
        return (self,)


@dataclass(frozen=True)
class Vertex:
    """√(2l+1) Σ C^{l₁ l₂ l}_{m₁ m₂ m} left_{m₁} right_{m₂}, channel by channel."""

    left: "Path"
    right: "Path"
    irrep: Irrep

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.left, self.right, self.irrep))

    @cached_property
    def shape(self) -> Tree:
        """The tree that it is a labelling of."""
        return Tree(self.left.shape, self.right.shape)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """From left to right."""
        return self.left.leaves + self.right.leaves


Path = Leaf | Vertex
"""Its `irrep` is its root's."""
