"""Drawings of fusion diagrams: each leaf, edge and irrep is there, and the report shows those that its arms have."""

import re
from base64 import b64decode
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import polars as pl
import pytest
from e3nn import o3
from hypothesis import given

from tesseral.analysis.figures.diagram_figures import Outline, diagram_figures, draw
from tesseral.analysis.report.report import report
from tesseral.analysis.tables.load import load
from tesseral.models.networks.layers.layer_fusion import LayerFusion
from tesseral.models.networks.network import build_network
from tesseral.study.configuration.network import Fusion
from tesseral.study.parsing.fusion_tree import LEAVES, Tree, parse_tree
from tests.study.parsing.test_fusion_tree import TREES
from tests.support.synthetic_density import BASIS, small_configuration
from tests.support.synthetic_study import info, table, trial_rows

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def outline(tree: Tree, orders: tuple[int, ...], roots: tuple[int, ...], k_max: int | None = None) -> Outline:
    return Outline(tree, tuple((name, orders) for name in sorted(set(tree.leaves))), roots, k_max)


@given(TREES)
def test_every_leaf_vertex_and_edge_is_drawn_inside_the_picture(tree: Tree):
    diagram = outline(tree, (0, 1), (0, 2), 2)
    root = ElementTree.fromstring(draw(diagram))
    leaves = len(tree.leaves)
    written = texts(draw(diagram))
    assert [text for text in written if text in LEAVES] == list(tree.leaves)
    assert written.count("l ≤ 1") == leaves
    assert written.count("k ≤ 2") == leaves - 2
    assert written[-1] == "l = 0, 2"
    assert len(list(root.iter(f"{SVG}circle"))) == leaves - 1
    assert len(list(root.iter(f"{SVG}line"))) == 2 * leaves - 1  # every node has one below it
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    for one in root.iter():
        for key, value in one.attrib.items():
            if key in ("x", "x1", "x2", "cx"):
                assert left <= float(value) <= left + width
            if key in ("y", "y1", "y2", "cy"):
                assert top <= float(value) <= top + height
    assert root.attrib["aria-label"] == f"Fusion diagram {diagram}"


def test_labels_do_not_overlap():
    """Leaves stand far enough apart for their orders, and the root's lie inside the picture."""
    svg = draw(outline(parse_tree("(centre (edges neighbours))"), (0, 2, 3, 5, 7, 9, 11), (1, 2, 3, 4, 6, 8, 9, 10)))
    root = ElementTree.fromstring(svg)
    left, _, width, _ = map(float, root.attrib["viewBox"].split())
    rows: dict[str, list[tuple[float, float]]] = {}
    for one in root.iter(f"{SVG}text"):
        half = 6.7 * len("".join(one.itertext())) / 2
        if one.attrib["text-anchor"] == "middle":
            rows.setdefault(one.attrib["y"], []).append((float(one.attrib["x"]) - half, float(one.attrib["x"]) + half))
    for spans in rows.values():
        spans.sort()
        assert all(before[1] < after[0] for before, after in pairwise(spans))
        assert spans[0][0] >= left
        assert spans[-1][1] <= left + width
    assert "every k" in texts(svg)


@pytest.fixture
def fused() -> list[dict]:
    """Four arms: none, one diagram twice, another bound."""
    settings = [
        ("none", None),
        ("((neighbours edges) centre)", 1),
        ("((neighbours edges) centre)", 1),
        ("(centre edges)", 2),
    ]
    rows = trial_rows()
    for row in rows:
        arm = row["factor.network.hidden.lmax"]
        tree, k_max = settings[arm]
        row |= {
            "setting.network.hidden.irreps": "8x0e+6x1o",
            "setting.network.harmonics_lmax": 2,
            "setting.network.fusion.diagram": tree,
            "setting.network.fusion.k_max": k_max,
            "setting.network.fusion.channels": None,
        }
    return rows


def test_one_drawing_for_each_diagram(fused):
    tables = load(table(fused), [], [], info())
    drawings = list(diagram_figures(tables.trials, tables.study.arms))
    arms = tables.study.arms
    assert [drawing.caption for drawing in drawings] == [f"{arms[1]}; {arms[2]}", arms[3]]
    label = ElementTree.fromstring(drawings[0].svg).attrib["aria-label"]
    assert label == (
        "Fusion diagram ((neighbours edges) centre) -> l ≤ 1; centre l ≤ 1, edges l ≤ 2, neighbours l ≤ 1; k ≤ 1"
    )
    alone = ElementTree.fromstring(b64decode(drawings[0].data_url.split(",")[1]))
    assert "prefers-color-scheme: dark" in "".join(alone.itertext())


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
@pytest.mark.parametrize("hidden", ["8x0e+6x1o", "4x1o+2x2e"])
def test_no_order_is_missing_that_a_layer_has(fused, interaction, hidden, monkeypatch):
    """Of layers as they are built: what enters their diagrams and what is made of them has no order but those drawn."""
    built = []
    monkeypatch.setattr(LayerFusion, "__init__", recording(LayerFusion.__init__, built))
    fusion = Fusion(diagram="((neighbours edges) centre)", k_max=1)
    changes = {"interaction": interaction, "fusion": fusion, "layers": 3, "harmonics_lmax": 2}
    network = small_configuration(hidden=hidden, **changes).network.resolve()
    build_network(network, 2, BASIS.layout, num_neighbors=3.0, seed=0)
    assert len(built) == 3
    irreps = {"setting.network.hidden.irreps": hidden, "setting.network.interaction": interaction}
    tables = load(table([row | irreps for row in fused]), [], [], info())
    first, _ = diagram_figures(tables.trials, tables.study.arms)
    label = ElementTree.fromstring(first.svg).attrib["aria-label"]
    made, told = label.split(" -> ")[1].split("; ")[:2]
    drawn = dict(one.split(" ", 1) for one in re.split(", (?=[a-z])", told)) | {"made": made}
    for centre, neighbours, out in built[1:]:
        for name, irreps_of in (("centre", centre), ("neighbours", neighbours), ("made", out)):
            assert {ir.l for _, ir in irreps_of} <= read_orders(drawn[name]), (name, irreps_of, drawn)


def recording(original: Callable[..., None], built: list[tuple[o3.Irreps, ...]]) -> Callable[..., None]:
    """A constructor that notes its first three arguments."""

    def initialise(self: LayerFusion, *args: object, **named: object) -> None:
        built.append(tuple(args[:3]))
        original(self, *args, **named)

    return initialise


def read_orders(text: str) -> set[int]:
    """Of `l ≤ 2` or `l = 0, 2`."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return set(range(numbers[0] + 1)) if "≤" in text else set(numbers)


def test_what_a_users_network_makes_of_a_diagram_is_not_drawn(fused):
    rows = [row | {"setting.network.define": "mine:network"} for row in fused]
    tables = load(table(rows), [], [], info())
    assert list(diagram_figures(tables.trials, tables.study.arms)) == []


def test_the_report_shows_them(fused):
    page = report(load(table(fused), [], [], info()))
    assert page.count('<figure id="diagram-') == 2
    assert "Fusion diagrams</h2>" in page
    assert "<style>@media" not in page.split("</head>")[1]  # it would restyle the whole page


def test_a_report_without_diagrams_has_no_such_section(fused):
    plain = [row | {"setting.network.fusion.diagram": "none"} for row in fused]
    assert "Fusion diagrams</h2>" not in report(load(table(plain), [], [], info()))
    assert "Fusion diagrams</h2>" not in report(load(table(trial_rows()), [], [], info()))
    assert list(diagram_figures(pl.DataFrame({"arm": ["a"]}), ("a",))) == []
