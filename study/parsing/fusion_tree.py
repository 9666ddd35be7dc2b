"""Fusion diagrams: rooted trees whose vertices are Clebsch-Gordan contractions (Li et al., arXiv 2211.07482).

`((neighbours neighbours) centre)` is the tree that first fuses an atom's gathered features with themselves, and what
comes of that with its own.
"""

import re
from dataclasses import dataclass

from tesseral.study.errors import TesseralError

LEAVES = ("centre", "neighbours", "edges")
"""What a diagram in a layer can be made of: see `tesseral.study.configuration.configuration.Fusion`."""
MOST_LEAVES = 16
"""Of a tree that is read from text."""


@dataclass(frozen=True)
class Tree:
    """A rooted trivalent tree: a vertex and the two that it fuses. Its text parses back."""

    left: "Tree | str"
    right: "Tree | str"

    def __str__(self) -> str:
        return f"({self.left} {self.right})"

    @property
    def leaves(self) -> tuple[str, ...]:
        """Names of the leaves, from left to right."""
        return leaf_names(self)

    @property
    def canonical(self) -> "Tree":
        """The same tree with the children of each vertex in order: the one of more leaves first, then by their text.

        Exchanging children changes what a vertex makes by a sign alone, C^{LM}_{l₂m₂ l₁m₁} = ±C^{LM}_{l₁m₁ l₂m₂}. So
        two trees are one diagram if their canonical forms are equal.
        """
        first, second = sorted((canonical(self.left), canonical(self.right)), key=lambda it: (-size(it), str(it)))
        return Tree(first, second)

    @property
    def internal(self) -> int:
        """Number of internal edges: vertices but the root's."""
        return len(self.leaves) - 2


def canonical(tree: Tree | str) -> Tree | str:
    """`Tree.canonical`, of a lone leaf the leaf."""
    return tree if isinstance(tree, str) else tree.canonical


def leaf_names(tree: Tree | str) -> tuple[str, ...]:
    """`Tree.leaves`, of a lone leaf its name."""
    return (tree,) if isinstance(tree, str) else leaf_names(tree.left) + leaf_names(tree.right)


def size(tree: Tree | str) -> int:
    """Number of leaves."""
    return len(leaf_names(tree))


def comb(leaf: str, order: int) -> Tree | str:
    """`order` equal leaves fused one after the other: `(((a a) a) a)`; of order 1, the leaf."""
    tree: Tree | str = leaf
    for _ in range(order - 1):
        tree = Tree(tree, leaf)
    return tree


def parse_tree(text: str) -> Tree:
    """The tree of a text such as `((neighbours neighbours) centre)`.

    :raises TesseralError: if it is no rooted tree of pairs, has other leaves than `LEAVES`, or more than `MOST_LEAVES`.
    """
    expected = f"expected a tree of pairs of {', '.join(LEAVES)}, such as '((neighbours neighbours) centre)'"
    words = re.findall(r"[()]|[^()\s]+", text)
    position = 0
    if words.count("(") >= MOST_LEAVES:
        raise TesseralError(f"expected a tree of at most {MOST_LEAVES} leaves, got {words.count('(') + 1}")

    def read() -> Tree | str:
        nonlocal position
        word = words[position] if position < len(words) else ""
        position += 1
        if word in LEAVES:
            return word
        if word != "(":
            raise TesseralError(f"{expected}, got {text!r}")
        tree = Tree(read(), read())
        if words[position : position + 1] != [")"]:
            raise TesseralError(f"{expected}, got {text!r}")
        position += 1
        return tree

    tree = read()
    if isinstance(tree, str) or position != len(words):
        raise TesseralError(f"{expected}, got {text!r}")
    return tree
