"""A complete fusion diagram: its tree, irreps of leaves and root, channels, and a bound on internal edges."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import Tree, parse_tree
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps

Irrep = tuple[int, int]
"""Order and parity (l, p), p = ±1."""

_EXPECTED = (
    "expected a diagram such as '((neighbours neighbours) centre) -> 4x0e+4x1o; centre = 4x0e+4x1o; "
    "neighbours = 4x0e+4x1o; channels = 4; k_max = 2'"
)


@dataclass(frozen=True)
class FusionDiagram:
    """The specification of a `tesseral.models.networks.layers.fusion_block.FusionBlock`.

    Leaves are sorted by name and irreps brought to canonical order. So the text of a diagram parses back to an equal
    one.

    :raises TesseralError: if `parse_tree` refuses the tree, the leaves with irreps are not those of the tree, a leaf
        or the root has no irreps, an irrep is invalid, `channels` is below 1, or `k_max` is below 0.
    """

    tree: Tree
    leaves: tuple[tuple[str, tuple[MulIrrep, ...]], ...]
    """Name and irreps of each leaf."""
    roots: tuple[MulIrrep, ...]
    """Irreps of the output."""
    channels: int
    """Number of channels of every irrep inside the diagram."""
    k_max: int | None = None
    """Largest l on internal edges; None if unlimited."""

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
    """Build a diagram from irreps as text.

    :param leaves: name of a leaf → its irreps; leaves that are not in the tree are ignored.
    :param roots: irreps of the output.
    :raises TesseralError: see `FusionDiagram`; also if irreps do not parse.
    """
    read = tuple((name, parse_irreps(text)) for name, text in leaves.items() if name in tree.leaves)
    return FusionDiagram(tree, read, parse_irreps(roots), channels, k_max)


def parse_diagram(text: str) -> FusionDiagram:
    """Parse the text of a diagram: the inverse of `str`.

    :raises TesseralError: if the text has another form.
    """
    first, *clauses = text.split(";")
    tree, arrow, roots = first.partition("->")
    values: dict[str, str] = {}
    for clause in clauses:
        name, sign, value = (part.strip() for part in clause.partition("="))
        if not sign or name in values:
            raise TesseralError(f"{_EXPECTED}, got {text!r}")
        values[name] = value
    numbers = {name: values.pop(name) for name in ("channels", "k_max") if name in values}
    if not arrow or "channels" not in numbers or not all(re.fullmatch(r"\d+", value) for value in numbers.values()):
        raise TesseralError(f"{_EXPECTED}, got {text!r}")
    parsed = tuple((name, parse_irreps(irreps)) for name, irreps in values.items())
    k_max = int(numbers["k_max"]) if "k_max" in numbers else None
    return FusionDiagram(parse_tree(tree), parsed, parse_irreps(roots), int(numbers["channels"]), k_max)


def layer_irreps(
    interaction: str, hidden: Iterable[MulIrrep], harmonics_lmax: int
) -> tuple[dict[str, frozenset[Irrep]], frozenset[Irrep]]:
    """The irreps that can enter each leaf of a diagram in a layer, and those that can be made at its root.

    The layer's input is assumed to have all hidden irreps. A first layer's input is scalar, so fewer paths are open.

    :param interaction: `network.interaction`.
    :return: leaf → irreps (l, p), and the irreps of the root.
    """
    features = frozenset((term.l, term.p) for term in hidden)
    edges = frozenset((order, (-1) ** order) for order in range(harmonics_lmax + 1))
    gathered = made = features
    if interaction == "mace":  # symmetric powers are taken of messages, which keep the harmonics' irreps too
        gathered = features | edges
    elif interaction != "cormorant" and any(order for order, _ in features):
        gathered = made = features | {(0, 1)}  # a gate multiplies each irrep of l > 0 by a scalar, made beside it
    return {"centre": features, "neighbours": gathered, "edges": edges}, made


def _canonical(irreps: tuple[MulIrrep, ...], where: str) -> tuple[MulIrrep, ...]:
    """Return irreps in canonical order, with equal ones joined.

    :param where: whose irreps they are, for errors.
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
