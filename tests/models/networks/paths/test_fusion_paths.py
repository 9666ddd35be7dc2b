"""The paths of a fusion diagram, counted against characters and, one by one, against every labelling of the tree."""

from collections import Counter
from itertools import product as pairs

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesseral.models.networks.paths.exact_coupling import PRIME, coefficients, couple, independent_rows, random_forms
from tesseral.models.networks.paths.fusion_paths import MAX_LABELLINGS, paths
from tesseral.models.networks.paths.independence import multiplicity, same_functions
from tesseral.models.networks.paths.path import Leaf, Path, Vertex
from tesseral.models.networks.paths.selection_rules import Irrep, IrrepSet, allowed, product
from tesseral.models.networks.products.fusion_plan import leaf_irreps, plan
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import LEAVES, Tree, comb, parse_tree
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.self_product import self_product

ORDERS = st.frozensets(st.tuples(st.integers(0, 2), st.sampled_from([1, -1])), min_size=1, max_size=3)
NODES = st.recursive(st.sampled_from(LEAVES), lambda child: st.builds(Tree, child, child), max_leaves=2)
TREES = st.builds(Tree, NODES, NODES)
EVERY = frozenset((order, parity) for order in range(7) for parity in (1, -1))


def orders(text: str) -> IrrepSet:
    return frozenset((term.l, term.p) for term in parse_irreps(text))


def counted(listed: tuple[Path, ...]) -> dict[Irrep, int]:
    return dict(Counter(path.irrep for path in listed))


def labellings(tree: Tree | str, leaves: dict[str, IrrepSet], k_max: int | None, *, root: bool = True) -> list[Path]:
    """All of them, dependent ones too."""
    if isinstance(tree, str):
        return [Leaf(tree, irrep) for irrep in sorted(leaves[tree])]
    left, right = (labellings(child, leaves, k_max, root=False) for child in (tree.left, tree.right))
    return [
        Vertex(one, other, irrep)
        for one, other in pairs(left, right)
        for irrep in sorted(product(frozenset({one.irrep}), frozenset({other.irrep})))
        if root or k_max is None or irrep[0] <= k_max
    ]


@settings(max_examples=40, deadline=None)
@given(TREES, st.fixed_dictionaries(dict.fromkeys(LEAVES, ORDERS)))
def test_without_a_bound_there_are_as_many_as_characters_say(tree, leaves):
    every = labellings(tree, leaves, None)
    degrees = {(path.irrep, frozenset(Counter(path.leaves).items())) for path in every}
    expected = Counter[Irrep]()
    for irrep, degree in degrees:
        expected[irrep] += multiplicity(irrep, degree)
    assert counted(paths(tree, leaves, EVERY)) == {irrep: n for irrep, n in expected.items() if n and irrep in EVERY}


@settings(max_examples=40, deadline=None)
@given(TREES, ORDERS, st.integers(0, 3))
def test_distinct_leaves_keep_every_labelling(tree, irreps, k_max):
    names = iter("abcdefgh")

    def distinct(node: Tree | str) -> Tree | str:
        return next(names) if isinstance(node, str) else Tree(distinct(node.left), distinct(node.right))

    apart = distinct(tree)
    leaves = dict.fromkeys("abcdefgh", irreps)
    every = labellings(apart, leaves, k_max)
    wanted = frozenset(path.irrep for path in every)
    assert counted(paths(apart, leaves, wanted, k_max)) == counted(tuple(every))


@settings(max_examples=25, deadline=None)
@given(TREES, ORDERS, st.integers(0, 3))
@example(parse_tree("((centre neighbours) (centre edges))"), frozenset({(1, 1), (2, 1), (2, -1)}), 2)
def test_what_is_left_out_is_a_combination_of_what_is_kept(tree, irreps, k_max):
    """Every labelling, in exact arithmetic of its own: forms are evaluated whole, with no search."""
    leaves = dict.fromkeys(LEAVES, irreps)
    tree = tree.canonical
    all_paths = paths(tree, leaves, EVERY, k_max)
    every = labellings(tree, leaves, k_max)
    # A scalar is one number at each point: fewer points than scalars would make some of them dependent.
    points = 10 + max(counted(tuple(every)).values())

    def value(path: Path) -> np.ndarray:
        if isinstance(path, Leaf):
            return random_forms(points, path.irrep[0], 10 + 2 * LEAVES.index(path.name) + (path.irrep[1] > 0))
        return couple(value(path.left), value(path.right), path.irrep[0])

    for irrep in {path.irrep for path in every}:
        whole = np.array([value(path).ravel() for path in every if path.irrep == irrep])
        kept = np.array([value(path).ravel() for path in all_paths if path.irrep == irrep]).reshape(-1, whole.shape[1])
        assert len(independent_rows(kept, len(kept))) == len(kept)
        assert len(independent_rows(np.concatenate([kept, whole]), len(whole))) == len(kept)


def test_equal_leaves_are_products_of_features_with_themselves():
    for irreps in ("1x1o", "1x0e+1x1o+1x2e", "1x0o+1x1e+1x1o+1x3o"):
        made = {(term.l, term.p): term.mul for term in self_product(parse_irreps(irreps))}
        assert counted(paths(comb("centre", 2), {"centre": orders(irreps)}, EVERY)) == made


@pytest.mark.parametrize(("k_max", "number"), [(None, 3), (2, 3), (1, 2), (0, 1)])
def test_three_vectors(k_max, number):
    vector = orders("1o")
    for text in ("((centre neighbours) edges)", "(centre (neighbours edges))", "((edges centre) neighbours)"):
        all_paths = paths(parse_tree(text), dict.fromkeys(LEAVES, vector), vector, k_max)
        assert len(all_paths) == number


def test_one_vector_three_times():
    """x(x·x) alone: all labellings agree, the one through 1e is zero."""
    vector = orders("1o")
    (path,) = paths(comb("centre", 3), {"centre": vector}, vector)
    assert isinstance(path, Vertex)
    assert path.left.irrep == (0, 1)


def test_both_parities_of_an_internal_edge():
    leaves = {"centre": orders("1o+1e"), "neighbours": orders("1o")}
    all_paths = paths(parse_tree("((centre neighbours) neighbours)"), leaves, orders("1o+1e"), 1)
    inside = {path.left.irrep for path in all_paths if isinstance(path, Vertex)}
    assert inside == orders("0e+0o+1e+1o")


def test_the_symmetric_cube():
    irreps = orders("0e+1o+2e")
    assert counted(paths(comb("centre", 3), {"centre": irreps}, irreps)) == {(0, 1): 5, (1, -1): 5, (2, 1): 6}


def test_topologies_of_equal_leaves_coincide_unless_an_edge_is_cut():
    irreps = orders("0e+1o+2e+3o")
    leaves = {"centre": irreps}
    balanced = Tree(Tree("centre", "centre"), Tree("centre", "centre"))
    assert counted(paths(balanced, leaves, irreps)) == counted(paths(comb("centre", 4), leaves, irreps))
    assert counted(paths(balanced, leaves, irreps, 2)) != counted(paths(comb("centre", 4), leaves, irreps, 2))


@settings(max_examples=25, deadline=None)
@given(TREES, st.permutations(range(4)), ORDERS, st.none() | st.integers(0, 3))
def test_recoupling_relates_trees_of_the_same_leaves_unless_an_edge_is_cut(tree, order, irreps, k_max):
    leaves = dict.fromkeys(LEAVES, irreps)
    names = iter([tree.leaves[k] for k in order if k < len(tree.leaves)])

    def renamed(node: Tree | str) -> Tree | str:
        return next(names) if isinstance(node, str) else Tree(renamed(node.left), renamed(node.right))

    other = renamed(tree)
    whole, cut = ([paths(each, leaves, irreps, bound) for each in (tree, other)] for bound in (None, k_max))
    assert same_functions(*whole)
    if len(cut[0]) == len(whole[0]) and len(cut[1]) == len(whole[1]):
        assert same_functions(*cut)
    if len(cut[0]) != len(cut[1]):
        assert not same_functions(*cut)


def test_three_vectors_by_another_topology_are_other_functions_if_an_edge_is_cut():
    vector = orders("1o")
    leaves = dict.fromkeys(LEAVES, vector)
    trees = [parse_tree(text) for text in ("((centre neighbours) edges)", "(centre (neighbours edges))")]
    assert not same_functions(*(paths(tree, leaves, vector, 1) for tree in trees))
    assert same_functions(*(paths(tree, leaves, vector, 2) for tree in trees))


def test_subtrees_that_trees_share_have_the_same_paths():
    leaves = {"centre": orders("0e+1o+2e")}
    squares = paths(comb("centre", 2), leaves, EVERY)
    cubes = paths(comb("centre", 3), leaves, orders("0e+1o"))
    assert {path.left for path in cubes if isinstance(path, Vertex)} <= set(squares)


def test_children_may_be_exchanged():
    leaves = {"centre": orders("0e+1o"), "edges": orders("1o+2e")}
    one, other = (parse_tree(text) for text in ("((centre edges) centre)", "(centre (edges centre))"))
    assert paths(one, leaves, EVERY, 2) == paths(other, leaves, EVERY, 2)


def test_a_lone_leaf_is_its_irreps():
    assert paths("centre", {"centre": orders("0e+1o+2e")}, orders("1o+2e+3o")) == (
        Leaf("centre", (1, -1)),
        Leaf("centre", (2, 1)),
    )


def test_what_cannot_be_reached_has_no_path():
    assert paths(comb("centre", 3), {"centre": orders("0e+2e")}, orders("1o+0o")) == ()
    assert paths(comb("centre", 2), {"centre": orders("1o")}, orders("1e")) == ()


def test_a_diagram_of_too_many_paths_is_refused():
    leaves = {"centre": frozenset((order, parity) for order in range(9) for parity in (1, -1))}
    with pytest.raises(
        TesseralError, match=f"at most {MAX_LABELLINGS} labellings at a vertex, got .* fuse fewer leaves"
    ):
        paths(comb("centre", 4), leaves, leaves["centre"])


def test_the_plan_holds_each_vertex_once_and_none_that_no_path_needs():
    leaves = {"centre": orders("0e+1o+2e"), "edges": orders("0e+1o")}
    all_paths = paths(parse_tree("((centre centre) (centre edges))"), leaves, orders("0e+1o"), 2)
    made = plan(all_paths)
    nodes = [node for stack in made.stacks.values() for node in stack]
    assert len(set(nodes)) == len(nodes)
    needed = set(all_paths)
    for node in sorted(nodes, key=lambda it: -len(it.leaves)):
        assert node in needed
        needed |= {node.left, node.right} if isinstance(node, Vertex) else set()
    assert [path for paths_ in made.roots.values() for path in paths_] == list(all_paths)
    assert leaf_irreps(all_paths) == leaves


def test_a_bound_leaves_two_of_three_paths():
    """Three different vectors to 1o by way of k = 0, 1 and 2; `k_max = 1` cuts the last."""
    tree, vectors = parse_tree("((neighbours centre) edges)"), dict.fromkeys(LEAVES, orders("1o"))
    assert [len(paths(tree, vectors, orders("1o"), k_max)) for k_max in (1, None)] == [2, 3]


# The arithmetic itself.


def test_transvectants_in_closed_form():
    vector, other = np.array([[1, 2, 3]]), np.array([[4, 5, 6]])  # x² + 2xy + 3y², 4x² + 5xy + 6y²
    assert couple(vector, other, 2).tolist() == [[4, 13, 28, 27, 18]]  # the product
    # The Jacobian f_x g_y − f_y g_x.
    jacobian = [(2 * 5 - 2 * 8) % PRIME, (2 * 12 + 2 * 5 - 2 * 5 - 6 * 8) % PRIME, (2 * 12 - 6 * 5) % PRIME]
    assert couple(vector, other, 1).tolist() == [jacobian]
    # f_xx g_yy − 2 f_xy g_xy + f_yy g_xx.
    assert couple(vector, other, 0).tolist() == [[2 * 12 - 2 * 2 * 5 + 6 * 8]]
    assert not couple(vector, vector, 1).any()


@pytest.mark.parametrize(("left", "right"), [(0, 2), (1, 1), (2, 3), (4, 4), (10, 7)])
def test_a_transvectant_keeps_the_weight_and_no_order_vanishes(left, right):
    for order in range(abs(left - right), left + right + 1):
        f, g = random_forms(1, left, 1), random_forms(1, right, 2)
        whole = couple(f, g, order)
        assert whole.shape == (1, 2 * order + 1)
        assert whole.all()
        assert (couple(f, g, order, highest=True) == whole[:, :1]).all()
        assert coefficients(left, right, order).max() < PRIME


def test_independent_rows_are_the_first_ones():
    rows = np.array([[0, 0, 0], [1, 2, 3], [2, 4, 6], [0, 1, 0], [1, 3, 3], [0, 0, PRIME - 1], [5, 5, 5]])
    assert independent_rows(rows, 7) == [1, 3, 5]
    assert independent_rows(rows, 2) == [1, 3]
    assert independent_rows(rows[:1], 1) == []


def test_the_selection_rules_of_a_vertex():
    for one, other, made in pairs(EVERY, EVERY, EVERY):
        assert allowed(one, other, made) == (made in product(frozenset({one}), frozenset({other})))


def test_multiplicity_in_symmetric_powers():
    vector = Leaf("centre", (1, -1))
    assert [multiplicity((order, 1), [(vector, 2)]) for order in range(4)] == [1, 0, 1, 0]
    assert [multiplicity((order, -1), [(vector, 3)]) for order in range(5)] == [0, 1, 0, 1, 0]
    apart = [(Leaf(name, (1, -1)), 1) for name in LEAVES]
    assert [multiplicity((order, -1), apart) for order in range(5)] == [1, 3, 2, 1, 0]
