"""Trees of fusion diagrams as text: what prints parses back, and trees that are one diagram are found to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import LEAVES, MOST_LEAVES, Tree, canonical, comb, parse_tree

NODES = st.recursive(st.sampled_from(LEAVES), lambda child: st.builds(Tree, child, child), max_leaves=6)
TREES = st.builds(Tree, NODES, NODES)


@given(TREES)
def test_the_text_of_a_tree_parses_back(tree):
    assert parse_tree(str(tree)) == tree
    assert parse_tree(f" {str(tree).replace('(', ' ( ')}\n") == tree


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
