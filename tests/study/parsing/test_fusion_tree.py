"""Fusion diagrams as text: what prints parses back, and trees that are one diagram are found to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_diagram import FusionDiagram, fusion_diagram, parse_diagram
from tesseral.study.parsing.fusion_tree import LEAVES, MOST_LEAVES, Tree, canonical, comb, parse_tree
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps

NODES = st.recursive(st.sampled_from(LEAVES), lambda child: st.builds(Tree, child, child), max_leaves=6)
TREES = st.builds(Tree, NODES, NODES)
IRREPS = st.lists(
    st.builds(MulIrrep, st.integers(1, 20), st.integers(0, 6), st.sampled_from([1, -1])), min_size=1, max_size=5
).map(format_irreps)


@given(TREES)
def test_the_text_of_a_tree_parses_back(tree):
    assert parse_tree(str(tree)) == tree
    assert parse_tree(f" {str(tree).replace('(', ' ( ')}\n") == tree


@given(TREES, IRREPS, IRREPS, st.integers(1, 30), st.none() | st.integers(0, 9))
def test_the_text_of_a_diagram_parses_back(tree, inside, roots, channels, k_max):
    diagram = fusion_diagram(tree, dict.fromkeys(LEAVES, inside), roots, channels, k_max)
    assert parse_diagram(str(diagram)) == diagram
    assert diagram.roots == parse_irreps(roots)


def test_the_text_is_as_documented():
    text = "((neighbours neighbours) centre) -> 4x0e+4x1o; centre = 4x0e; neighbours = 4x1o; channels = 4; k_max = 2"
    diagram = parse_diagram(text)
    assert str(diagram) == text
    assert diagram.k_max == 2
    assert str(parse_diagram(text.removesuffix("; k_max = 2"))) == text.removesuffix("; k_max = 2")


@pytest.mark.parametrize(
    "text",
    ["", "centre", "()", "(centre)", "(centre centre", "(centre centre) centre", "(a b)", "(centre centre centre)"],
)
def test_what_is_no_tree_is_refused(text):
    with pytest.raises(TesseralError, match="expected a tree of pairs of centre, neighbours, edges"):
        parse_tree(text)


def test_a_tree_of_too_many_leaves_is_refused():
    parse_tree(str(comb("centre", MOST_LEAVES)))
    with pytest.raises(TesseralError, match=f"at most {MOST_LEAVES} leaves, got {MOST_LEAVES + 1}"):
        parse_tree(str(comb("centre", MOST_LEAVES + 1)))
    with pytest.raises(TesseralError, match="at most"):
        parse_tree("(" * 100_000)


@pytest.mark.parametrize(
    "text",
    [
        "(centre edges)",
        "(centre centre) -> 4x0e; centre = 4x0e",
        "(centre centre) -> 4x0e; centre = 4x0e; channels = four",
        "(centre centre) -> 4x0e; centre = 4x0e; channels = 4; channels = 4",
        "(centre centre) -> 4x0e; centre 4x0e; channels = 4",
    ],
)
def test_what_is_no_diagram_is_refused(text):
    with pytest.raises(TesseralError, match="expected a diagram such as"):
        parse_diagram(text)


TERMS = st.lists(
    st.builds(MulIrrep, st.integers(0, 4), st.integers(0, 3), st.sampled_from([1, -1])), min_size=1, max_size=4
).filter(lambda terms: any(term.mul for term in terms))


@given(TREES, TERMS, TERMS, st.integers(1, 30), st.none() | st.integers(0, 9), st.randoms())
def test_a_diagram_of_irreps_in_any_order_parses_back(tree, inside, roots, channels, k_max, random):
    names = sorted(set(tree.leaves))
    random.shuffle(names)
    diagram = FusionDiagram(tree, tuple((name, tuple(inside)) for name in names), tuple(roots), channels, k_max)
    assert parse_diagram(str(diagram)) == diagram
    assert hash(parse_diagram(str(diagram))) == hash(diagram)
    assert diagram == fusion_diagram(
        tree, dict.fromkeys(LEAVES, format_irreps(inside)), format_irreps(roots), channels, k_max
    )


SCALARS = (MulIrrep(2, 0, 1),)
SQUARE = {"tree": Tree("centre", "centre"), "leaves": (("centre", SCALARS),), "roots": SCALARS, "channels": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k_max": -1}, "expected a k_max of at least 0, or none, got -1"),
        ({"channels": 0}, "expected at least one channel, got 0"),
        ({"roots": ()}, "expected at least one irrep of the root, got none"),
        ({"leaves": (("centre", (MulIrrep(0, 1, 1),)),)}, "expected at least one irrep of the leaf centre, got none"),
        ({"leaves": (("centre", SCALARS), ("centre", SCALARS))}, "centre, each once, got those of centre, centre"),
        ({"leaves": ()}, "expected irreps of the leaves centre, each once, got those of none"),
        ({"roots": (MulIrrep(2, -1, 1),)}, r"expected mul and l of at least 0 .*, got .*l=-1.* of the root"),
        ({"roots": (MulIrrep(-2, 0, 1), MulIrrep(3, 0, 1))}, "expected mul and l of at least 0 .*mul=-2"),
        ({"leaves": (("centre", (MulIrrep(2, 0, 0),)),)}, "a parity p of 1 or -1, got .*p=0.* of the leaf centre"),
        ({"tree": Tree("x", "x"), "leaves": (("x", SCALARS),)}, r"expected a tree of pairs of .* got '\(x x\)'"),
        ({"tree": comb("centre", MOST_LEAVES + 1)}, f"at most {MOST_LEAVES} leaves"),
    ],
)
def test_a_diagram_whose_text_would_be_refused_is_refused(changes, message):
    assert str(FusionDiagram(**SQUARE)) == "(centre centre) -> 2x0e; centre = 2x0e; channels = 2"
    with pytest.raises(TesseralError, match=message) as caught:
        FusionDiagram(**SQUARE | changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "(centre edges) -> 4x0e; centre = 4x0e; channels = 4",
            "expected irreps of the leaves centre, edges, each once, got those of centre",
        ),
        (
            "(centre centre) -> 4x0e; centre = 4x0e; edges = 4x0e; channels = 4",
            "of the leaves centre, each once, got those of centre, edges",
        ),
        ("(centre centre) -> 4x0e; centre = 4x0e; channels = 0", "at least one channel, got 0"),
        ("(centre centre) -> 4x0e; centre = 4x0; channels = 4", "expected irreps such as"),
    ],
)
def test_a_diagram_of_other_leaves_is_refused(text, message):
    with pytest.raises(TesseralError, match=message):
        parse_diagram(text)


def test_the_example_of_an_error_is_a_diagram():
    with pytest.raises(TesseralError) as error:
        parse_diagram("(centre edges)")
    assert isinstance(parse_diagram(str(error.value).split("'")[1]), FusionDiagram)


def exchanged(node: Tree | str, draw) -> Tree | str:
    if isinstance(node, str):
        return node
    left, right = exchanged(node.left, draw), exchanged(node.right, draw)
    return Tree(right, left) if draw(st.booleans()) else Tree(left, right)


@given(TREES, st.data())
def test_exchanging_children_leaves_the_canonical_form(tree, data):
    other = exchanged(tree, data.draw)
    assert canonical(other) == tree.canonical == tree.canonical.canonical
    assert sorted(tree.canonical.leaves) == sorted(tree.leaves)


def test_trees_of_another_shape_stay_apart():
    balanced, grown = (
        parse_tree(text) for text in ("((centre edges) (centre edges))", "(((centre edges) centre) edges)")
    )
    assert balanced.canonical != grown.canonical
    assert parse_tree("(centre (edges neighbours))").canonical != parse_tree("(edges (centre neighbours))").canonical


def test_a_comb_of_equal_leaves():
    assert [str(comb("centre", order)) for order in (1, 2, 3)] == [
        "centre",
        "(centre centre)",
        "((centre centre) centre)",
    ]
    assert canonical(comb("edges", 4)) == comb("edges", 4)
