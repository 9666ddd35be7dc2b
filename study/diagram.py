"""Fusion diagrams: rooted trees whose vertices are Clebsch-Gordan contractions (Li et al., arXiv 2211.07482).

`((neighbours neighbours) centre)` is the tree that first fuses an atom's gathered features with themselves, and what
comes of that with its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tesseral.study.errors import TesseralError

LEAVES = ("centre", "neighbours", "edges")
"""What a diagram in a layer can be made of: see `tesseral.study.configuration.Fusion`."""


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
        return tuple(_leaves(self))


def _leaves(tree: Tree | str) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        yield from _leaves(tree.left)
        yield from _leaves(tree.right)


def parse_tree(text: str) -> Tree:
    """The tree of a text such as `((neighbours neighbours) centre)`.

    :raises TesseralError: if it is no rooted tree of pairs, or has other leaves than `LEAVES`.
    """
    expected = f"expected a tree of pairs of {', '.join(LEAVES)}, such as '((neighbours neighbours) centre)'"
    words = re.findall(r"[()]|[^()\s]+", text)
    position = 0

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
