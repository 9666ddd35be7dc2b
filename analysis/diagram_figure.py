"""The drawing of a fusion diagram: leaves above, with their irreps; lines that meet at vertices; the root below."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup, escape

from tesseral.analysis.svg import FONT, INK, MUTED
from tesseral.study.diagram import LEAVES, Tree, parse_tree
from tesseral.study.fusion_diagram import FusionDiagram, fusion_diagram
from tesseral.study.irreps import MulIrrep, format_irreps, parse_irreps

# As the first colours of arms in `tesseral.analysis.svg`: seen on a light ground and on a dark one.
_COLOURS = dict(zip(LEAVES, ("#0072B2", "#D55E00", "#009E73"), strict=True))
_LINE, _RISE, _MARGIN = 17, 58, 14
_LETTER = 6.9
"""Width of a letter of 12 px, a little more than it is."""
_WRAP = 16
"""Letters of irreps in a line under a leaf."""
_DARK = (
    f'<style>@media (prefers-color-scheme: dark) {{ [fill="{INK}"] {{ fill: #e6e8eb }} [stroke="{INK}"] '
    f'{{ stroke: #e6e8eb }} [fill="{MUTED}"] {{ fill: #9aa2ad }} }}</style>'
)


@dataclass(frozen=True)
class Drawing:
    """A diagram's picture, with what a reader needs to read it."""

    name: str
    """Unique in the report, fit for a file name."""
    svg: Markup
    """For a page, whose style sheet restyles its colours as those of charts."""
    caption: str

    @property
    def data_url(self) -> str:
        """The picture as a link that holds it whole; a file of its own follows the reader's light or dark mode."""
        whole = str(self.svg).replace(">", f">{_DARK}", 1)
        return "data:image/svg+xml;base64," + b64encode(whole.encode()).decode()


def drawings(trials: pl.DataFrame, arms: tuple[str, ...]) -> Iterator[Drawing]:
    """One drawing for each distinct diagram of the arms, in their order; none where no arm has any.

    Irreps are those of a layer in the middle of the network: a first layer's features are scalars alone.

    :param trials: with the columns `arm` and `setting.network.…`.
    :param arms: in the report's order.
    """
    columns = {
        name: f"setting.network.{name}"
        for name in (
            "interaction",
            "hidden.irreps",
            "harmonics_lmax",
            "fusion.diagram",
            "fusion.k_max",
            "fusion.channels",
        )
    }
    present = {name: column for name, column in columns.items() if column in trials.columns}
    if not {"fusion.diagram", "hidden.irreps", "harmonics_lmax"} <= set(present):
        return
    found: dict[FusionDiagram, list[str]] = {}
    for arm in arms:
        rows = trials.filter(pl.col("arm") == arm).select(**{name: pl.col(path) for name, path in present.items()})
        for row in rows.unique(maintain_order=True).to_dicts():
            if row["fusion.diagram"] not in (None, "none") and row["hidden.irreps"] is not None:
                of_diagram = found.setdefault(_diagram(row), [])
                of_diagram += [arm] if arm not in of_diagram else []
    for number, (diagram, having) in enumerate(found.items(), start=1):
        yield Drawing(f"diagram-{number}", draw(diagram), "; ".join(having))


def _diagram(row: dict[str, object]) -> FusionDiagram:
    hidden, k_max = str(row["hidden.irreps"]), row.get("fusion.k_max")
    terms = parse_irreps(hidden)
    least = min(term.mul for term in terms)
    edges = [MulIrrep(1, order, (-1) ** order) for order in range(int(str(row["harmonics_lmax"])) + 1)]
    gathered = hidden
    if row.get("interaction") == "mace":  # what it gathers has the irreps of the harmonics, too
        gathered = format_irreps(MulIrrep(least, *irrep) for irrep in {(term.l, term.p) for term in (*terms, *edges)})
    leaves = {"centre": hidden, "neighbours": gathered, "edges": format_irreps(edges)}
    channels = row.get("fusion.channels") or least
    bound = None if k_max is None else int(str(k_max))
    return fusion_diagram(parse_tree(str(row["fusion.diagram"])), leaves, hidden, int(str(channels)), bound)


def draw(diagram: FusionDiagram) -> Markup:
    """An `<svg>` element that needs nothing else.

    A vertex is a Clebsch-Gordan product, a line between two of them an internal edge with its bound.
    """
    return _Canvas(diagram).svg()


class _Canvas:
    """Positions of everything, in pixels."""

    def __init__(self, diagram: FusionDiagram) -> None:
        self.diagram = diagram
        leaves = dict(diagram.leaves)
        self.labels = [[name, *_wrapped(leaves[name])] for name in diagram.tree.leaves]
        self.root = _wrapped(diagram.roots, 40)
        widest = max(len(line) for lines in self.labels for line in lines)
        self.step = max(84.0, _LETTER * widest + 18)
        self.top = _MARGIN + _LINE * max(map(len, self.labels)) + 4
        self.parts: list[str] = []
        self.next_leaf = 0

    def svg(self) -> Markup:
        self.bound = "every k" if self.diagram.k_max is None else f"k ≤ {self.diagram.k_max}"
        count = len(self.labels)
        x, y = self._node(self.diagram.tree)
        bottom = y + 0.7 * _RISE
        self._line(x, y, x, bottom, INK)
        self._dot(x, y)
        for number, line in enumerate(self.root):
            self._text(x, bottom + _LINE * (number + 1), line, MUTED)
        # The root's text is centred on the root, which is not the middle of the picture.
        reach = _LETTER * max(map(len, self.root)) / 2 + _MARGIN
        left, right = min(0.0, x - reach), max(self.step * count, x + reach)
        height = bottom + _LINE * len(self.root) + _MARGIN
        label = escape(f"Fusion diagram {self.diagram}")
        return Markup(  # noqa: S704 - its text is escaped where it is written
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" width="{right - left:.0f}" '
            f'height="{height:.0f}" viewBox="{left:.0f} 0 {right - left:.0f} {height:.0f}" font-family="{FONT}" '
            f'font-size="12"><title>{label}</title>{"".join(self.parts)}</svg>'
        )

    def _node(self, node: Tree | str) -> tuple[float, float]:
        """Where it is, its children drawn."""
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
                self._bound(child_x, child_y, x, y)
        return x, y

    def _bound(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Beside the middle of an internal edge, outside of the angle at its lower end."""
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


def _wrapped(irreps: tuple[MulIrrep, ...], width: int = _WRAP) -> list[str]:
    """Irreps without their multiplicities, in as few lines as that width needs, and those of one length."""
    lines = _lines(irreps, width)
    while width > 1 and len(narrower := _lines(irreps, width - 1)) == len(lines):
        width, lines = width - 1, narrower
    return lines


def _lines(irreps: tuple[MulIrrep, ...], width: int) -> list[str]:
    lines = [""]
    for number, term in enumerate(irreps):
        text = f"{term.l}{'e' if term.p == 1 else 'o'}" + ("+" if number + 1 < len(irreps) else "")
        if lines[-1] and len(lines[-1] + text) > width:
            lines.append("")
        lines[-1] += text
    return lines
