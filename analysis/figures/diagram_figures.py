"""Drawings of fusion diagrams: leaves above with what enters them, vertices where lines meet, the root below.

Only orders l are drawn. The layer decides which irreps enter its diagram and with how many channels; the records bound
their orders.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup, escape

from tesseral.analysis.figures.svg import FONT, INK, MUTED
from tesseral.study.parsing.fusion_tree import LEAVES, Tree, layer_irreps, parse_tree
from tesseral.study.parsing.irreps import parse_irreps

# The first colours of arms in `tesseral.analysis.figures.axes`, visible on light and dark backgrounds.
_COLOURS = dict(zip(LEAVES, ("#0072B2", "#D55E00", "#009E73"), strict=True))
_LINE, _RISE, _MARGIN = 17, 58, 14
_LETTER = 6.9
"""Width of a letter of 12 px, rounded up, px."""
_DARK = (
    f'<style>@media (prefers-color-scheme: dark) {{ [fill="{INK}"] {{ fill: #e6e8eb }} [stroke="{INK}"] '
    f'{{ stroke: #e6e8eb }} [fill="{MUTED}"] {{ fill: #9aa2ad }} }}</style>'
)


@dataclass(frozen=True)
class Outline:
    """A fusion diagram as it is drawn: its tree, and the orders at its leaves and root."""

    tree: Tree
    leaves: tuple[tuple[str, tuple[int, ...]], ...]
    """Name of each leaf and the orders l that can enter it, ascending; sorted by name."""
    roots: tuple[int, ...]
    """Orders l that the diagram can produce, ascending."""
    k_max: int | None = None
    """Largest l of internal edges; None for no limit."""

    def __str__(self) -> str:
        leaves = ", ".join(f"{name} {_orders(orders)}" for name, orders in self.leaves)
        return f"{self.tree} -> {_orders(self.roots)}; {leaves}; {self.bound}"

    @property
    def bound(self) -> str:
        """The bound of internal edges as text."""
        return _bound(self.k_max)


@dataclass(frozen=True)
class Drawing:
    """The picture of a diagram with its caption."""

    name: str
    """Unique in the report and fit for a file name."""
    svg: Markup
    """For a page, whose style sheet replaces its colours in dark mode."""
    caption: str

    @property
    def data_url(self) -> str:
        """The picture as a link that contains it, for saving; the file follows the light or dark mode by itself."""
        whole = str(self.svg).replace(">", f">{_DARK}", 1)
        return "data:image/svg+xml;base64," + b64encode(whole.encode()).decode()


def diagram_figures(trials: pl.DataFrame, arms: tuple[str, ...]) -> Iterator[Drawing]:
    """One drawing for each distinct diagram of the arms, in their order.

    Orders are those of layers after the first, whose input is scalars only.

    :param trials: a frame with the columns `arm` and `setting.network.…`.
    :param arms: labels in the report's order.
    """
    columns = {
        name: f"setting.network.{name}"
        for name in (
            "define",
            "interaction",
            "hidden.irreps",
            "harmonics_lmax",
            "fusion.diagram",
            "fusion.k_max",
        )
    }
    present = {name: column for name, column in columns.items() if column in trials.columns}
    if not {"fusion.diagram", "hidden.irreps", "harmonics_lmax"} <= set(present):
        return
    arms_of: dict[Outline, list[str]] = {}
    for arm in arms:
        rows = trials.filter(pl.col("arm") == arm).select(**{name: pl.col(path) for name, path in present.items()})
        for row in rows.unique(maintain_order=True).to_dicts():
            given = row["fusion.diagram"] not in (None, "none") and row["hidden.irreps"] is not None
            if given and row.get("define") is None:  # a user's own network may use it differently
                of_diagram = arms_of.setdefault(_outline(row), [])
                of_diagram += [arm] if arm not in of_diagram else []
    for number, (diagram, having) in enumerate(arms_of.items(), start=1):
        yield Drawing(f"diagram-{number}", draw(diagram), "; ".join(having))


def _outline(row: dict[str, object]) -> Outline:
    hidden = [(term.l, term.p) for term in parse_irreps(str(row["hidden.irreps"]))]
    irreps, roots = layer_irreps(str(row.get("interaction")), hidden, int(str(row["harmonics_lmax"])))
    tree, k_max = parse_tree(str(row["fusion.diagram"])), row.get("fusion.k_max")
    leaves = tuple((name, _orders_of(irreps[name])) for name in sorted(set(tree.leaves)))
    return Outline(tree, leaves, _orders_of(roots), None if k_max is None else int(str(k_max)))


def _orders_of(irreps: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(sorted({order for order, _ in irreps}))


def draw(diagram: Outline) -> Markup:
    """Draw a diagram as a self-contained `<svg>` element.

    A vertex is a Clebsch-Gordan product; a line between two vertices is an internal edge with its bound.
    """
    entering = {name: _orders(orders) for name, orders in diagram.leaves}
    return _Canvas(diagram.tree, entering, _orders(diagram.roots), diagram.bound).svg(f"Fusion diagram {diagram}")


class _Canvas:
    """Draws a diagram from its leaves down; positions are in px."""

    def __init__(self, tree: Tree, entering: Mapping[str, str], root: str, bound: str) -> None:
        self.tree, self.root, self.bound = tree, root, bound
        self.labels = [(name, entering[name]) for name in tree.leaves]
        widest = max(len(line) for lines in self.labels for line in lines)
        self.step = max(84.0, _LETTER * widest + 18)
        self.top = _MARGIN + 2 * _LINE + 4
        self.parts: list[str] = []
        self.next_leaf = 0

    def svg(self, title: str) -> Markup:
        count = len(self.labels)
        x, y = self._node(self.tree)
        bottom = y + 0.7 * _RISE
        self._line(x, y, x, bottom, INK)
        self._dot(x, y)
        self._text(x, bottom + _LINE, self.root, MUTED)
        # The root's text is centred on the root, which need not be the middle of the picture.
        reach = _LETTER * len(self.root) / 2 + _MARGIN
        left, right = min(0.0, x - reach), max(self.step * count, x + reach)
        height = bottom + _LINE + _MARGIN
        label = escape(title)
        return Markup(  # noqa: S704 - its text is escaped where it is written
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" width="{right - left:.0f}" '
            f'height="{height:.0f}" viewBox="{left:.0f} 0 {right - left:.0f} {height:.0f}" font-family="{FONT}" '
            f'font-size="12"><title>{label}</title>{"".join(self.parts)}</svg>'
        )

    def _node(self, node: Tree | str) -> tuple[float, float]:
        """Draw the subtree of a node and return the node's position."""
        if isinstance(node, str):
            x = self.step * (self.next_leaf + 0.5)
            lines = self.labels[self.next_leaf]
            first = self.top - 4 - _LINE * (len(lines) - 1)
            for number, line in enumerate(lines):
                named = number == 0
                self._text(x, first + _LINE * number - 4, line, INK if named else MUTED, bold=named)
            self.next_leaf += 1
            return x, self.top
        placed = [(child, *self._node(child)) for child in (node.left, node.right)]
        x = (placed[0][1] + placed[1][1]) / 2
        y = max(place[2] for place in placed) + _RISE
        for child, child_x, child_y in placed:
            self._line(child_x, child_y, x, y, _COLOURS[child] if isinstance(child, str) else INK)
            if isinstance(child, Tree):
                self._dot(child_x, child_y)
                self._beside(child_x, child_y, x, y)
        return x, y

    def _beside(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Write the bound beside the middle of an internal edge, outside the angle at its lower end."""
        outwards = -1 if x1 < x2 else 1
        anchor = "end" if outwards < 0 else "start"
        self._text((x1 + x2) / 2 + 7 * outwards, (y1 + y2) / 2 + 8, self.bound, INK, anchor=anchor)

    def _line(self, x1: float, y1: float, x2: float, y2: float, colour: str) -> None:
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2" '
            'stroke-linecap="round"/>'
        )

    def _dot(self, x: float, y: float) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{INK}"/>')

    def _text(self, x: float, y: float, text: str, colour: str, *, anchor: str = "middle", bold: bool = False) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'
        )


def _bound(k_max: int | None) -> str:
    return "every k" if k_max is None else f"k ≤ {k_max}"


def _orders(orders: tuple[int, ...]) -> str:
    """Orders as text: `l ≤ 2` for all up to 2, or `l = 0, 2`."""
    if len(orders) > 1 and orders == tuple(range(len(orders))):
        return f"l ≤ {orders[-1]}"
    return f"l = {', '.join(map(str, orders))}"
