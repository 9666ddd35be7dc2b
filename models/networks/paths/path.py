"""A path of a fusion diagram: the diagram's tree with an irrep at every leaf, internal edge and the root.

Paths are values: two that couple the same irreps in the same way are equal, so a vertex that several paths share is
found by comparison and computed once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.study.parsing.fusion_tree import Tree


@dataclass(frozen=True)
class Leaf:
    """One irrep of the features that enter a tree under a name, such as the 1o of `centre`."""

    name: str
    irrep: Irrep

    @property
    def shape(self) -> str:
        """The tree without its irreps: a lone leaf, the name."""
        return self.name

    @property
    def leaves(self) -> tuple["Leaf", ...]:
        """The leaf itself."""
        return (self,)


@dataclass(frozen=True)
class Vertex:
    """The coupling √(2l+1) Σ_{m₁m₂} C^{l₁ l₂ l}_{m₁ m₂ m} left_{m₁} right_{m₂}, channel by channel."""

    left: "Path"
    right: "Path"
    irrep: Irrep
    """(l, p) of the result."""

    def __hash__(self) -> int:
        return self._hash

    # Kept, because the hash of a tree visits all of it and paths are keys of many dictionaries.
    @cached_property
    def _hash(self) -> int:
        return hash((self.left, self.right, self.irrep))

    @cached_property
    def shape(self) -> Tree:
        """The tree without its irreps."""
        return Tree(self.left.shape, self.right.shape)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves from left to right."""
        return self.left.leaves + self.right.leaves


Path = Leaf | Vertex
"""A labelled tree; its `irrep` is that of its root."""


def nodes(paths: Iterable[Path]) -> list[Path]:
    """The leaves and vertices of paths, each once, and each after those that it is made of.

    :param paths: of one tree or several.
    """
    found: dict[Path, None] = {}  # keeps the order of insertion

    def visit(node: Path) -> None:
        if isinstance(node, Vertex) and node not in found:
            visit(node.left)
            visit(node.right)
        found[node] = None

    for path in paths:
        visit(path)
    return list(found)
