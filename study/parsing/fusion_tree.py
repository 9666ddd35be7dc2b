"""The tree of a fusion diagram: a rooted binary tree whose vertices are Clebsch-Gordan products (Li et al., arXiv
2211.07482), and what enters its leaves in a layer.

`((neighbours neighbours) centre)` first couples the features gathered from the neighbours with themselves, and then
the result with the atom's own features.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tesseral.study.errors import TesseralError
from tesseral.study.parsing.irreps import Irrep

LEAVES = ("centre", "neighbours", "edges")
"""Leaves of a diagram in a layer; `tesseral.study.configuration.Fusion` says what each holds."""
MOST_LEAVES = 16
"""Largest number of leaves of a tree that is read from text."""


@dataclass(frozen=True)
class Tree:
    """A vertex of a rooted binary tree, with the two subtrees or leaves that it couples. Its text parses back."""

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
        """The same tree with the children of each vertex in order: the larger subtree first, then by text.

        Exchanging the children of a vertex changes its output only by a sign, C^{LM}_{l₂m₂ l₁m₁} = ±C^{LM}_{l₁m₁ l₂m₂}.
        So two trees are the same diagram if their canonical forms are equal.
        """
        first, second = sorted((canonical(self.left), canonical(self.right)), key=lambda it: (-size(it), str(it)))
        return Tree(first, second)


def canonical(tree: Tree | str) -> Tree | str:
    """Return `Tree.canonical`; a single leaf is returned as it is."""
    return tree if isinstance(tree, str) else tree.canonical


def leaf_names(tree: Tree | str) -> tuple[str, ...]:
    """Return `Tree.leaves`; for a single leaf, its name."""
    return (tree,) if isinstance(tree, str) else leaf_names(tree.left) + leaf_names(tree.right)


def size(tree: Tree | str) -> int:
    """Return the number of leaves."""
    return len(leaf_names(tree))


def comb(leaf: str, order: int) -> Tree | str:
    """Return the tree that couples `order` equal leaves one after the other, such as `(((a a) a) a)`.

    :param leaf: its name.
    :param order: number of leaves, at least 1.
    """
    tree: Tree | str = leaf
    for _ in range(order - 1):
        tree = Tree(tree, leaf)
    return tree


def parse_tree(text: str) -> Tree:
    """Parse a tree such as `((neighbours neighbours) centre)`.

    :param text: of the tree.
    :raises TesseralError: if the text is not a tree of pairs, has leaves that are not in `LEAVES`, or more than
        `MOST_LEAVES` of them.
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


def layer_irreps(
    interaction: str, hidden: Iterable[Irrep], harmonics_lmax: int
) -> tuple[dict[str, frozenset[Irrep]], frozenset[Irrep]]:
    """The irreps that can enter each leaf of a diagram in a layer, and those that can be made at its root.

    The layer's input is assumed to have all hidden irreps. A first layer's input is scalar, so fewer paths are open.

    :param interaction: `network.interaction`.
    :param hidden: the hidden irreps (l, p).
    :param harmonics_lmax: largest l of the edges' harmonics.
    :returns: leaf → irreps (l, p), and the irreps of the root.
    """
    features = frozenset(hidden)
    edges = frozenset((order, (-1) ** order) for order in range(harmonics_lmax + 1))
    gathered = made = features
    if interaction == "mace":  # symmetric powers are taken of messages, which keep the harmonics' irreps too
        gathered = features | edges
    elif interaction != "cormorant" and any(order for order, _ in features):
        gathered = made = features | {(0, 1)}  # a gate multiplies each irrep of l > 0 by a scalar, made beside it
    return {"centre": features, "neighbours": gathered, "edges": edges}, made
