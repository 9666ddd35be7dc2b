"""A fusion diagram whole: its tree, the irreps of each leaf, the bound on internal edges, and what is made of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tesseral.study.diagram import Tree, parse_tree
from tesseral.study.errors import TesseralError
from tesseral.study.irreps import MulIrrep, format_irreps, parse_irreps

_EXPECTED = (
    "expected a diagram such as '((neighbours neighbours) centre) -> 4x0e+4x1o; centre = 4x0e+4x1o; "
    "neighbours = 4x0e+4x1o; channels = 4; k_max = 2'"
)


@dataclass(frozen=True)
class FusionDiagram:
    """What `tesseral.networks.fusion.FusionBlock` is made from. Its text parses back to an equal diagram.

    :raises TesseralError: if a leaf of the tree has no irreps, or there are irreps of a leaf that the tree has not, or
        fewer than one channel.
    """

    tree: Tree
    leaves: tuple[tuple[str, tuple[MulIrrep, ...]], ...]
    """Name and irreps of each leaf, in the order of the names; see `fusion_diagram`."""
    roots: tuple[MulIrrep, ...]
    """What is made of the paths."""
    channels: int
    """Of every irrep inside the diagram."""
    k_max: int | None = None
    """Largest l of internal edges; None: not limited."""

    def __post_init__(self) -> None:
        names, expected = [name for name, _ in self.leaves], sorted(set(self.tree.leaves))
        if names != expected:
            raise TesseralError(f"expected irreps of the leaves {', '.join(expected)}, got those of {', '.join(names)}")
        if self.channels < 1:
            raise TesseralError(f"expected at least one channel, got {self.channels}")

    def __str__(self) -> str:
        leaves = "".join(f"; {name} = {_text(irreps)}" for name, irreps in self.leaves)
        bound = "" if self.k_max is None else f"; k_max = {self.k_max}"
        return f"{self.tree} -> {_text(self.roots)}{leaves}; channels = {self.channels}{bound}"


def fusion_diagram(
    tree: Tree, leaves: Mapping[str, str], roots: str, channels: int, k_max: int | None = None
) -> FusionDiagram:
    """A diagram of irreps as text, which are put into canonical order.

    :param leaves: irreps of each leaf of the tree; others are left out.
    :raises TesseralError: see `FusionDiagram`; or if irreps do not parse.
    """
    read = {name: _irreps(text) for name, text in leaves.items() if name in tree.leaves}
    return FusionDiagram(tree, tuple(sorted(read.items())), _irreps(roots), channels, k_max)


def parse_diagram(text: str) -> FusionDiagram:
    """The diagram that prints as `text`.

    :raises TesseralError: if it is not of that form.
    """
    first, *clauses = text.split(";")
    tree, arrow, roots = first.partition("->")
    found: dict[str, str] = {}
    for clause in clauses:
        name, sign, value = (part.strip() for part in clause.partition("="))
        if not sign or name in found:
            raise TesseralError(f"{_EXPECTED}, got {text!r}")
        found[name] = value
    numbers = {name: found.pop(name) for name in ("channels", "k_max") if name in found}
    if not arrow or "channels" not in numbers or not all(re.fullmatch(r"\d+", value) for value in numbers.values()):
        raise TesseralError(f"{_EXPECTED}, got {text!r}")
    parsed = tuple(sorted((name, _irreps(irreps)) for name, irreps in found.items()))
    k_max = int(numbers["k_max"]) if "k_max" in numbers else None
    return FusionDiagram(parse_tree(tree), parsed, _irreps(roots), int(numbers["channels"]), k_max)


def _irreps(text: str) -> tuple[MulIrrep, ...]:
    return parse_irreps(format_irreps(parse_irreps(text)))


def _text(irreps: tuple[MulIrrep, ...]) -> str:
    return "+".join(map(str, irreps))
