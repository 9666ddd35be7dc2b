"""A fusion diagram whole: its tree, the irreps of each leaf, the bound on internal edges, and what is made of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import Tree, parse_tree
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps

_EXPECTED = (
    "expected a diagram such as '((neighbours neighbours) centre) -> 4x0e+4x1o; centre = 4x0e+4x1o; "
    "neighbours = 4x0e+4x1o; channels = 4; k_max = 2'"
)


@dataclass(frozen=True)
class FusionDiagram:
    """What `tesseral.models.networks.layers.fusion_block.FusionBlock` is made from. Its text parses back to an equal
    diagram: leaves are put in the order of their names, and irreps in canonical order, however they are given.

    :raises TesseralError: if the tree is none that `parse_tree` reads, a leaf of it or the root has no irreps, there
        are irreps of a leaf that it has not, an irrep is none, there are fewer than one channel, or k_max is below 0.
    """

    tree: Tree
    leaves: tuple[tuple[str, tuple[MulIrrep, ...]], ...]
    """Name and irreps of each leaf."""
    roots: tuple[MulIrrep, ...]
    """What is made of the paths."""
    channels: int
    """Of every irrep inside the diagram."""
    k_max: int | None = None
    """Largest l of internal edges; None: not limited."""

    def __post_init__(self) -> None:
        tree = parse_tree(str(self.tree))
        names, expected = sorted(name for name, _ in self.leaves), sorted(set(tree.leaves))
        if names != expected:
            came = ", ".join(names) or "none"
            raise TesseralError(f"expected irreps of the leaves {', '.join(expected)}, each once, got those of {came}")
        if self.channels < 1:
            raise TesseralError(f"expected at least one channel, got {self.channels}")
        if self.k_max is not None and self.k_max < 0:
            raise TesseralError(f"expected a k_max of at least 0, or none, got {self.k_max}")
        leaves = tuple((name, _canonical(irreps, f"the leaf {name}")) for name, irreps in sorted(self.leaves))
        for name, value in (("tree", tree), ("leaves", leaves), ("roots", _canonical(self.roots, "the root"))):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        leaves = "".join(f"; {name} = {_text(irreps)}" for name, irreps in self.leaves)
        bound = "" if self.k_max is None else f"; k_max = {self.k_max}"
        return f"{self.tree} -> {_text(self.roots)}{leaves}; channels = {self.channels}{bound}"


def fusion_diagram(
    tree: Tree, leaves: Mapping[str, str], roots: str, channels: int, k_max: int | None = None
) -> FusionDiagram:
    """A diagram of irreps as text.

    :param leaves: irreps of each leaf of the tree; others are left out.
    :raises TesseralError: see `FusionDiagram`; or if irreps do not parse.
    """
    read = tuple((name, parse_irreps(text)) for name, text in leaves.items() if name in tree.leaves)
    return FusionDiagram(tree, read, parse_irreps(roots), channels, k_max)


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
    parsed = tuple((name, parse_irreps(irreps)) for name, irreps in found.items())
    k_max = int(numbers["k_max"]) if "k_max" in numbers else None
    return FusionDiagram(parse_tree(tree), parsed, parse_irreps(roots), int(numbers["channels"]), k_max)


def _canonical(irreps: tuple[MulIrrep, ...], where: str) -> tuple[MulIrrep, ...]:
    """As their canonical text parses.

    :param where: whose irreps they are, in words.
    """
    for term in irreps:
        if term.mul < 0 or term.l < 0 or term.p not in (1, -1):
            raise TesseralError(f"expected mul and l of at least 0 and a parity p of 1 or -1, got {term!r} of {where}")
    text = format_irreps(irreps)
    if not text:
        raise TesseralError(f"expected at least one irrep of {where}, got none")
    return parse_irreps(text)


def _text(irreps: tuple[MulIrrep, ...]) -> str:
    return "+".join(map(str, irreps))
