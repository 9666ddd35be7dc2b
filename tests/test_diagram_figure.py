"""Drawings of fusion diagrams: each leaf, edge and irrep is there, and the report shows those that its arms have."""

from base64 import b64decode
from itertools import pairwise, product
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given
from synthetic_study import info, table, trial_rows
from test_diagram import TREES

from tesseral.analysis.diagram_figure import draw, drawings
from tesseral.analysis.load import load
from tesseral.analysis.report import report
from tesseral.study.diagram import LEAVES, Tree, parse_tree
from tesseral.study.fusion_diagram import fusion_diagram, parse_diagram

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@given(TREES)
def test_every_leaf_vertex_and_edge_is_drawn_inside_the_picture(tree: Tree):
    diagram = fusion_diagram(tree, dict.fromkeys(LEAVES, "2x0e+2x1o"), "3x0e+3x2e", 4, 2)
    root = ElementTree.fromstring(draw(diagram))
    leaves = len(tree.leaves)
    written = texts(draw(diagram))
    assert [text for text in written if text in LEAVES] == list(tree.leaves)
    assert written.count("0e+1o") == leaves
    assert written.count("k ≤ 2") == tree.internal == leaves - 2
    assert written[-1] == "0e+2e"
    assert len(list(root.iter(f"{SVG}circle"))) == leaves - 1
    assert len(list(root.iter(f"{SVG}line"))) == 2 * leaves - 1  # every node has one below it
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    for one in root.iter():
        for key, value in one.attrib.items():
            if key in ("x", "x1", "x2", "cx"):
                assert left <= float(value) <= left + width
            if key in ("y", "y1", "y2", "cy"):
                assert top <= float(value) <= top + height
    assert parse_diagram(root.attrib["aria-label"].removeprefix("Fusion diagram ")) == diagram


def test_labels_do_not_overlap():
    """Leaves stand far enough apart for their irreps, which wrap, and the root's lie inside the picture."""
    wide = "+".join(f"4x{order}{parity}" for order, parity in product(range(5), "eo"))
    svg = draw(fusion_diagram(parse_tree("(centre (edges neighbours))"), dict.fromkeys(LEAVES, wide), wide, 4))
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
    found = list(drawings(tables.trials, tables.study.arms))
    arms = tables.study.arms
    assert [drawing.caption for drawing in found] == [f"{arms[1]}; {arms[2]}", arms[3]]
    label = ElementTree.fromstring(found[0].svg).attrib["aria-label"]
    assert label == (
        "Fusion diagram ((neighbours edges) centre) -> 8x0e+6x1o; centre = 8x0e+6x1o; edges = 1x0e+1x1o+1x2e; "
        "neighbours = 8x0e+6x1o; channels = 6; k_max = 1"
    )
    alone = ElementTree.fromstring(b64decode(found[0].data_url.split(",")[1]))
    assert "prefers-color-scheme: dark" in "".join(alone.itertext())


def test_a_mace_gathers_the_irreps_of_harmonics_too(fused):
    rows = [row | {"setting.network.interaction": "mace"} for row in fused]
    tables = load(table(rows), [], [], info())
    first, _ = drawings(tables.trials, tables.study.arms)
    assert "; neighbours = 6x0e+6x1o+6x2e;" in ElementTree.fromstring(first.svg).attrib["aria-label"]


def test_lines_of_irreps_are_of_one_length(fused):
    wide = "4x0e+4x0o+4x1e+4x1o+4x2e+4x2o"
    written = texts(draw(fusion_diagram(parse_tree("(centre centre)"), {"centre": wide}, "4x0e", 4)))
    assert written == 2 * ["centre", "0e+0o+1e+", "1o+2e+2o"] + ["0e"]


def test_the_report_shows_them(fused):
    page = report(load(table(fused), [], [], info()))
    assert page.count('<figure id="diagram-') == 2
    assert "Fusion diagrams</h2>" in page
    assert "<style>@media" not in page.split("</head>")[1]  # it would restyle the whole page


def test_a_report_without_diagrams_has_no_such_section(fused):
    plain = [row | {"setting.network.fusion.diagram": "none"} for row in fused]
    assert "Fusion diagrams</h2>" not in report(load(table(plain), [], [], info()))
    assert "Fusion diagrams</h2>" not in report(load(table(trial_rows()), [], [], info()))
    assert list(drawings(pl.DataFrame({"arm": ["a"]}), ("a",))) == []
