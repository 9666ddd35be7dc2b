"""Fusion blocks: equivariance, paths against contractions written out, and which functions a topology can make."""

from collections.abc import Mapping

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.physics.wigner import wigner_6j
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tesseral.models.networks.graph import EdgeBasis, build_graph
from tesseral.models.networks.irreps import irrep_set
from tesseral.models.networks.layers.fusion_block import EdgeSum, FusionBlock
from tesseral.models.networks.network import count_parameters
from tesseral.models.networks.paths.path import Leaf, Path, Vertex
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import LEAVES, Tree, comb, parse_tree

FIRST, SECOND = parse_tree("((centre neighbours) edges)"), parse_tree("(centre (neighbours edges))")
MIXED = o3.Irreps("3x0e+2x0o+2x1o+3x1e+2x2e")
DIAGRAMS = [
    ("(centre edges)", None),
    ("((neighbours neighbours) centre)", 1),
    ("((centre neighbours) edges)", None),
    ("((centre neighbours) (centre neighbours))", 1),
    ("(((neighbours neighbours) edges) centre)", 2),
]


def channels_of(irreps: str, channels: int) -> o3.Irreps:
    return o3.Irreps([(channels, ir) for _, ir in o3.Irreps(irreps)])


def inputs(leaves: Mapping[str, o3.Irreps], atoms: int) -> dict[str, Tensor]:
    return {name: irreps.randn(atoms, -1) for name, irreps in leaves.items()}


def written_out(path: Path, features: Mapping[str, Tensor], leaves: Mapping[str, o3.Irreps]) -> Tensor:
    """(atoms, channels, 2l+1): the contractions of one path, one after the other."""
    if isinstance(path, Leaf):
        irreps = leaves[path.name]
        place = next(k for k, (_, ir) in enumerate(irreps) if (ir.l, ir.p) == path.irrep)
        mul, ir = irreps[place]
        return features[path.name][:, irreps.slices()[place]].reshape(-1, mul, ir.dim)
    left, right = (written_out(child, features, leaves) for child in (path.left, path.right))
    coefficients = o3.wigner_3j(path.left.irrep[0], path.right.irrep[0], path.irrep[0])
    return (2 * path.irrep[0] + 1) ** 0.5 * torch.einsum("ijk,zui,zuj->zuk", coefficients, left, right)


def spaces(product: FusionProduct, features: Mapping[str, Tensor], atoms: int) -> dict[tuple[int, int], Tensor]:
    """For each root, a matrix (atoms × components, paths) of one channel, whose columns span the product."""
    by_irrep = {}
    outputs = product(features).split([term.dim for term in product.irreps_out], dim=1)
    for (_, ir), values in zip(product.irreps_out, outputs, strict=True):
        by_irrep[ir.l, ir.p] = values.reshape(atoms, -1, ir.dim).transpose(1, 2).reshape(atoms * ir.dim, -1)
    return by_irrep


def rank(*columns: Tensor) -> int:
    return int(torch.linalg.matrix_rank(torch.cat(columns, dim=1), rtol=1e-9))


@pytest.mark.parametrize(("diagram", "k_max"), DIAGRAMS)
def test_equivariance_with_parity(diagram, k_max):
    leaves = {"centre": MIXED, "neighbours": o3.Irreps("2x0e+3x1o+1x2o"), "edges": o3.Irreps("4x0e+4x1o+4x2e")}
    block = FusionBlock(parse_tree(diagram), leaves, MIXED, 3, k_max)
    assert block.reached == irrep_set(MIXED)
    features = inputs(leaves, 5)
    expected = block(features)
    for k in (0, 1):
        rotation = o3.rand_matrix(1)[0] * (-1) ** k
        turned = {name: value @ leaves[name].D_from_matrix(rotation).T for name, value in features.items()}
        wanted = expected @ MIXED.D_from_matrix(rotation).T
        assert (block(turned) - wanted).abs().max() < 1e-9 * expected.abs().max()
    assert expected.abs().min() > 0


@pytest.mark.parametrize(("diagram", "k_max"), DIAGRAMS)
def test_each_path_is_its_contractions_written_out(diagram, k_max):
    leaves = {
        "centre": channels_of("0e+0o+1o+1e", 3),
        "neighbours": channels_of("2o+0e+1o", 3),
        "edges": channels_of("0e+1o+2e", 3),
    }
    product = FusionProduct(parse_tree(diagram), leaves, MIXED, 3, k_max)
    features = inputs(leaves, 4)
    outputs = product(features).split([term.dim for term in product.irreps_out], dim=1)
    for (mul, ir), values in zip(product.irreps_out, outputs, strict=True):
        of_irrep = product.paths[ir.l, ir.p]
        assert mul == 3 * len(of_irrep)
        for path, value in zip(of_irrep, values.reshape(4, 3, -1, ir.dim).unbind(2), strict=True):
            torch.testing.assert_close(value, written_out(path, features, leaves), rtol=1e-12, atol=1e-12)


def test_the_paths_of_several_trees_at_once():
    leaves = {"centre": channels_of("0e+1o+2e", 2)}
    trees = [comb("centre", order) for order in (1, 2, 3)]
    features = inputs(leaves, 4)
    together = FusionProduct(trees, leaves, o3.Irreps("0e+1o+2e"), 2)
    values = together(features).split([term.dim for term in together.irreps_out], dim=1)
    for (_, ir), value in zip(together.irreps_out, values, strict=True):
        apart = []
        for tree in trees:
            one = FusionProduct(tree, leaves, o3.Irreps([ir]), 2)
            apart.append(one(features).reshape(4, 2, -1, ir.dim))
        torch.testing.assert_close(value.reshape(4, 2, -1, ir.dim), torch.cat(apart, dim=2))


def test_independent_inputs_of_unit_variance_give_unit_variance():
    leaves = {name: channels_of("0e+1o+2e", 1) for name in LEAVES}
    product = FusionProduct(FIRST, leaves, o3.Irreps("0e+1o+2e"), 1)
    moments = product(inputs(leaves, 20_000)).square().mean(0)
    assert moments.mean() == pytest.approx(1, abs=0.02)
    assert (moments - 1).abs().max() < 0.2  # six standard errors of the most skewed, a product of three numbers


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(DIAGRAMS), st.integers(1, 4), st.integers(1, 5))
def test_operations_are_those_that_torch_counts(diagram, channels, atoms):
    leaves = {name: channels_of("0e+1o+1e+2e", channels) for name in LEAVES}
    product = FusionProduct(parse_tree(diagram[0]), leaves, MIXED, channels, diagram[1])
    with FlopCounterMode(display=False) as counter:
        product(inputs(leaves, atoms))
    assert counter.get_total_flops() == 2 * sum(product.plan.multiplications) * channels * atoms > 0


def test_an_irrep_that_no_path_reaches_is_exactly_zero():
    leaves = {"centre": o3.Irreps("3x0e+2x1o")}
    out = o3.Irreps("2x0e+2x0o+1x1o+1x1e+3x2e+1x3o")
    block = FusionBlock(comb("centre", 2), leaves, out, 1).float()
    assert block.reached == frozenset({(0, 1), (1, -1), (2, 1)})
    values = block({"centre": leaves["centre"].randn(6, -1).float()}).split([term.dim for term in out], dim=1)
    for (_, ir), value in zip(out, values, strict=True):
        assert bool((value == 0).all()) == ((ir.l, ir.p) not in block.reached)


def test_a_block_that_reaches_nothing_is_exactly_zero_and_has_no_parameters():
    block = FusionBlock(comb("centre", 2), {"centre": o3.Irreps("3x1o")}, o3.Irreps("2x1o+1x1e"), 1)
    assert not block.reached
    assert count_parameters(block) == 0
    assert (block({"centre": torch.randn(4, 9)}) == torch.zeros(4, 9)).all()


def test_no_atom():
    leaves = {name: channels_of("0e+1o", 2) for name in LEAVES}
    for diagram, k_max in DIAGRAMS:
        block = FusionBlock(parse_tree(diagram), leaves, o3.Irreps("2x0e+1x1o"), 2, k_max)
        assert block(inputs(leaves, 0)).shape == (0, 5)


@pytest.mark.parametrize("irreps", ["2x0e+3x1o", "2x0e+2x1o+2x0e"])
def test_leaves_without_equal_channels_are_refused(irreps):
    with pytest.raises(TesseralError, match="expected 2 of each irrep of the leaf 'centre', each once, got 2x0e"):
        FusionProduct(comb("centre", 2), {"centre": o3.Irreps(irreps)}, o3.Irreps("0e"), 2)


def test_a_product_can_be_compiled_whole():
    leaves = {name: channels_of("0e+1o", 2) for name in ("centre", "neighbours")}
    product = FusionProduct(parse_tree("((neighbours neighbours) centre)"), leaves, o3.Irreps("0e+1o+1e"), 2)
    features = inputs(leaves, 3)
    compiled = torch.compile(product, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features), product(features))


def test_gradients_in_float64():
    leaves = {name: channels_of("0e+1o", 2) for name in ("centre", "neighbours")}
    block = FusionBlock(parse_tree("((neighbours neighbours) centre)"), leaves, o3.Irreps("2x0e+1x1o+1x2e"), 2)
    features = [value.requires_grad_() for value in inputs(leaves, 2).values()]
    assert torch.autograd.gradcheck(lambda *values: block(dict(zip(leaves, values, strict=True))), features)
    assert torch.autograd.gradgradcheck(lambda *values: block(dict(zip(leaves, values, strict=True))), features)


# What a topology can make: the spaces that paths span on random features.

VECTORS = {name: o3.Irreps("1x1o") for name in LEAVES}


@pytest.mark.parametrize(("k_max", "each", "both"), [(2, 3, 3), (1, 2, 3), (0, 1, 2)])
def test_three_distinct_vectors(k_max, each, both):
    features = inputs(VECTORS, 40)
    one, other = (
        spaces(FusionProduct(tree, VECTORS, o3.Irreps("1o"), 1, k_max), features, 40)[1, -1] for tree in (FIRST, SECOND)
    )
    assert rank(one) == rank(other) == each
    assert rank(one, other) == both


@pytest.mark.parametrize(("l1", "l2", "l3", "root"), [(1, 1, 1, 1), (1, 1, 2, 2), (2, 1, 3, 2), (3, 1, 2, 2)])
def test_topologies_are_recoupled_by_6j_symbols(l1, l2, l3, root):
    """⟨(l₁l₂)j, l₃; L | l₁, (l₂l₃)k; L⟩ = ± √((2j+1)(2k+1)) {l₁ l₂ j; l₃ L k}, and that matrix is orthogonal.

    The sign is of each vertex's convention: real harmonics carry phases that complex ones do not.
    """
    leaves = {name: o3.Irreps([(1, (order, (-1) ** order))]) for name, order in zip(LEAVES, (l1, l2, l3), strict=True)}
    features = inputs(leaves, 60)
    made = o3.Irreps([(1, (root, (-1) ** (l1 + l2 + l3)))])
    products = [FusionProduct(tree, leaves, made, 1) for tree in (FIRST, SECOND)]
    key = (root, (-1) ** (l1 + l2 + l3))
    one, other = (spaces(product, features, 60)[key] for product in products)
    recoupling = torch.linalg.lstsq(one, other).solution
    torch.testing.assert_close(one @ recoupling, other, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(recoupling @ recoupling.T, torch.eye(len(recoupling)), rtol=1e-9, atol=1e-9)
    inner = [[inside(path).irrep[0] for path in product.paths[key]] for product in products]
    expected = torch.tensor(
        [
            [float((2 * j + 1) ** 0.5 * (2 * k + 1) ** 0.5 * wigner_6j(l1, l2, j, l3, root, k)) for k in inner[1]]
            for j in inner[0]
        ]
    )
    torch.testing.assert_close(recoupling.abs(), expected.abs(), rtol=1e-9, atol=1e-9)
    # One sign for each labelling of either tree makes them equal, signs included.
    signs = torch.sign(recoupling * expected)
    assert rank(signs) == 1


def inside(path: Path) -> Path:
    assert isinstance(path, Vertex)
    return path.left


@pytest.mark.parametrize("k_max", [1, 2, None])
def test_identical_leaves_make_the_topologies_coincide(k_max):
    """The leaves of one name in one tree, and trees of distinct leaves that hold the same features."""
    irreps = o3.Irreps("0e+1o+2e")
    same = irreps.randn(40, -1)
    features = dict.fromkeys(LEAVES, same)
    leaves = dict.fromkeys(LEAVES, irreps)
    one, other = (
        spaces(FusionProduct(tree, leaves, irreps, 1, k_max), features, 40)
        for tree in (FIRST, parse_tree("((centre edges) neighbours)"))
    )
    equal = spaces(FusionProduct(comb("centre", 3), {"centre": irreps}, irreps, 1, k_max), {"centre": same}, 40)
    for key, columns in equal.items():
        dimension = columns.shape[1]
        assert rank(columns) == rank(one[key]) == rank(one[key], other[key], columns) == dimension
    distinct = inputs(leaves, 40)
    one, other = (
        spaces(FusionProduct(tree, leaves, irreps, 1, k_max), distinct, 40)
        for tree in (FIRST, parse_tree("((centre edges) neighbours)"))
    )
    assert (rank(one[1, -1]) < rank(one[1, -1], other[1, -1])) == (k_max is not None)


def test_the_symmetric_cube_is_that_of_e3nn():
    irreps = o3.Irreps("0e+1o+2e")
    features = irreps.randn(60, -1)
    spanned = spaces(FusionProduct(comb("centre", 3), {"centre": irreps}, irreps, 1), {"centre": features}, 60)
    cube = o3.ReducedTensorProducts("ijk=jik=jki", i=irreps)
    values = cube(features, features, features)
    for key, number in {(0, 1): 5, (1, -1): 5, (2, 1): 6}.items():
        columns = torch.cat(
            [
                values[:, place].reshape(60, mul, ir.dim).transpose(1, 2).reshape(60 * ir.dim, mul)
                for (mul, ir), place in zip(cube.irreps_out, cube.irreps_out.slices(), strict=True)
                if (ir.l, ir.p) == key
            ],
            dim=1,
        )
        assert columns.shape[1] == spanned[key].shape[1] == number
        assert rank(columns) == rank(spanned[key]) == rank(columns, spanned[key]) == number


def test_a_bound_that_cuts_a_balanced_tree_cuts_other_functions_than_a_comb():
    irreps = o3.Irreps("0e+1o+2e")
    features = {"centre": irreps.randn(80, -1)}
    trees = [Tree(Tree("centre", "centre"), Tree("centre", "centre")), comb("centre", 4)]
    for k_max, coincide in ((None, True), (1, False)):
        one, other = (
            spaces(FusionProduct(tree, {"centre": irreps}, irreps, 1, k_max), features, 80)[0, 1] for tree in trees
        )
        assert (rank(one) == rank(other) == rank(one, other)) == coincide


# The leaf `edges`.


def test_the_sum_over_edges():
    species = torch.tensor([0, 1, 1, 0])
    positions = torch.randn(4, 3)
    graph = build_graph(species, positions, 2, EdgeBasis(cutoff=4.0, lmax=2, number=6))
    leaf = EdgeSum(2, 3, radial=[6, 8], num_neighbors=2.5)
    weights = leaf.radial(graph.radial)
    expected = torch.zeros(4, leaf.irreps_out.dim)
    for edge in range(len(graph.source)):
        one = [
            weights[edge, 3 * order + channel] * graph.harmonics[edge, order**2 + component]
            for order in range(3)
            for channel in range(3)
            for component in range(2 * order + 1)
        ]
        expected[graph.destination[edge]] += torch.stack(one) / 2.5**0.5
    assert leaf.irreps_out == o3.Irreps("3x0e+3x1o+3x2e")
    torch.testing.assert_close(leaf(graph), expected)
    rotation = -o3.rand_matrix(1)[0]
    turned = build_graph(species, positions @ rotation.T, 2, EdgeBasis(cutoff=4.0, lmax=2, number=6))
    matrix = leaf.irreps_out.D_from_matrix(rotation)
    torch.testing.assert_close(leaf(turned), expected @ matrix.T, rtol=1e-9, atol=1e-9)


def test_an_atom_without_neighbours_has_an_empty_sum():
    graph = build_graph(torch.tensor([0]), torch.zeros(1, 3), 1, EdgeBasis(cutoff=4.0, lmax=2, number=6))
    leaf = EdgeSum(2, 3, radial=[6], num_neighbors=2.5)
    assert (leaf(graph) == 0).all()
    assert leaf(graph).shape == (1, 27)
