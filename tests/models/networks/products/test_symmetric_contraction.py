"""The symmetric contraction: the spaces of mace-torch's own, counts by characters, symmetry, scale, weights."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement, permutations
from math import comb as choose
from pathlib import Path

import numpy as np
import pytest
import torch
from e3nn import o3

from tesseral.models.networks.paths.selection_rules import Irrep, symmetric_power
from tesseral.models.networks.products.contraction_plan import contraction_plan
from tesseral.models.networks.products.monomials import MAX_BLOCK, monomials, polynomial, second_moment
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction

GOLDEN = json.loads((Path(__file__).parents[3] / "support" / "mace_contraction.json").read_text(encoding="utf-8"))
"""Made by `golden_mace_contraction.py`."""
CASES = [pytest.param(case, id=f"{case['irreps_in']} to {case['root']}") for case in GOLDEN["cases"]]


@pytest.fixture(autouse=True)
def precise() -> Iterator[None]:
    """e3nn's rotation matrices are as precise as the default dtype."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


def contraction(irreps_in: str, irreps_out: str, correlation: int, elements: int = 1) -> SymmetricContraction:
    torch.manual_seed(0)
    return SymmetricContraction(
        o3.Irreps(irreps_in), o3.Irreps(irreps_out), correlation=correlation, elements=elements
    ).requires_grad_(False)


def columns(case: dict, correlation: int) -> dict[int, np.ndarray]:
    """By order, what each of our paths alone makes of the golden points."""
    module = contraction(case["irreps_in"], f"1x{case['root']}", correlation)
    points = torch.tensor(case["points"])
    (weights,), (paths,) = module.weights, module.paths
    by_degree: dict[int, list[np.ndarray]] = {order: [] for order in range(1, correlation + 1)}
    for index, path in enumerate(paths):
        weights.zero_()
        weights[index] = 1
        by_degree[len(path.leaves)].append(module(points, torch.ones(len(points), 1)).numpy().ravel())
    return {order: as_columns(case, rows) for order, rows in by_degree.items()}


def as_columns(case: dict, rows: list) -> np.ndarray:
    """(outputs, vectors), of no vectors too."""
    return np.reshape(rows, (len(rows), len(case["points"]) * o3.Irrep(case["root"]).dim)).T


def sine(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The sine of the largest angle between two spans of equal dimension; our columns must be independent."""
    assert ours.shape == theirs.shape
    if not ours.size:
        return 0.0
    values = np.linalg.svd(ours, compute_uv=False)
    assert values[-1] > 1e-3 * values[0]
    (basis, _), (other, _) = np.linalg.qr(ours), np.linalg.qr(theirs)
    return float(np.linalg.norm(basis - other @ (other.T @ basis), 2))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_spans_what_maces_own_contraction_spans(case, correlation):
    """Order by order and all together, as many dimensions and no angle between them."""
    ours = columns(case, correlation)
    theirs = {order: as_columns(case, case["bases"][str(order)]) for order in ours}
    assert all(sine(made, theirs[order]) < 1e-9 for order, made in ours.items())
    assert sine(np.hstack([*ours.values()]), np.hstack([*theirs.values()])) < 1e-9


def test_golden_ranks():
    """Order 3 of 0e+1o+2e: 5, 5 and 6 dimensions for 0e, 1o and 2e."""
    ranks = {case["root"]: len(case["bases"]["3"]) for case in GOLDEN["cases"] if case["irreps_in"] == "1x0e+1x1o+1x2e"}
    assert {root: ranks[root] for root in ("0e", "1o", "2e")} == {"0e": 5, "1o": 5, "2e": 6}


@cache
def multiplicity(irreps: tuple[Irrep, ...], degree: int, root: Irrep) -> int:
    """The multiplicity of a root in Symⁿ(⊕ irreps) = ⊕ over n₁ + n₂ + … = n of ⊗ Sym^nᵢ(irrep i), factor by factor."""
    total = 0
    for content in combinations_with_replacement(irreps, degree):
        contents = {(0, 1): 1}
        for order, parity in dict.fromkeys(content):
            power = symmetric_power(order, parity, content.count((order, parity)))
            product: dict[Irrep, int] = {}
            for (left, p), many in contents.items():
                for term in power:
                    for made in range(abs(left - term.l), left + term.l + 1):
                        product[made, p * term.p] = product.get((made, p * term.p), 0) + many * term.mul
            contents = product
        total += contents.get(root, 0)
    return total


@pytest.mark.parametrize(
    ("irreps", "correlation"),
    [
        (((0, 1), (1, -1), (2, 1), (3, -1)), 4),
        (((0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)), 3),
        (((2, -1),), 4),
    ],
)
def test_paths_are_as_many_as_the_copies_in_symmetric_powers(irreps, correlation):
    roots = ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1))
    plan = contraction_plan(irreps, roots, correlation)
    for root, made in zip(roots, plan.roots, strict=True):
        degrees = [len(path.leaves) for path in made.paths]
        for degree in range(1, correlation + 1):
            assert degrees.count(degree) == multiplicity(irreps, degree, root)
        assert {path.irrep for path in made.paths} <= {root}


def test_a_plan_in_blocks_is_the_same_polynomials():
    """Small blocks are joined, large ones kept apart; every path and every monomial of the parity is in one."""
    irreps = ((0, 1), (1, -1), (2, 1), (3, -1))
    plan = contraction_plan(irreps, ((2, 1),), 3)
    (root,) = plan.roots
    assert len(root.blocks) > 1
    assert all(block.coefficients.size <= MAX_BLOCK for block in root.blocks)
    assert sum(block.paths for block in root.blocks) == len(root.paths) == sum(len(b.coefficients) for b in root.blocks)
    assert sum(block.coefficients.shape[2] for block in root.blocks) == sum(basis.even for basis in plan.bases)
    assert all(np.abs(block.coefficients).max(axis=(1, 2)).min() > 0 for block in root.blocks)


IN, OUT = "3x0e+3x0o+3x1o+3x1e+3x2e", "3x0e+3x0o+3x1o+3x1e+3x2e+3x2o"


@pytest.mark.parametrize("parity", [1, -1])
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_equivariant_with_parity(parity, correlation):
    module = contraction(IN, OUT, correlation, elements=2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, module.irreps_in.dim, generator=generator)
    elements = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 0, 1]), 2).double()
    rotation = parity * o3.rand_matrix()
    turned = module(x @ module.irreps_in.D_from_matrix(rotation).T, elements)
    expected = module(x, elements) @ module.irreps_out.D_from_matrix(rotation).T
    reached = [bool(paths) for paths in module.paths]
    assert reached == [True] * 5 + [correlation > 1]
    assert [bool(expected[:, part].abs().max() > 1e-2) for part in module.irreps_out.slices()] == reached
    assert torch.allclose(turned, expected, rtol=0, atol=1e-9)


def test_an_irrep_to_which_no_path_leads_is_zero():
    module = contraction("2x0e+2x1o", "2x0o+2x1o+2x1e", 2)
    assert [len(paths) for paths in module.paths] == [0, 2, 0]  # of one channel, 1o ⊗ 1o holds no 1e
    out = module(torch.randn(4, 8), torch.ones(4, 1))
    assert (out[:, :2] == 0).all()
    assert (out[:, 8:] == 0).all()
    assert (out[:, 2:8] != 0).all()


def test_weights_are_by_channel_and_element():
    """Each number by hand: w[path, c, z] of 0e: x, x², and of 1o: v, x v; a channel sees itself alone."""
    module = contraction("2x0e+2x1o", "2x0e+2x1o", 2, elements=2)
    assert [tuple(weights.shape) for weights in module.weights] == [(3, 2, 2), (2, 2, 2)]
    x, v = (
        torch.tensor([[0.3, -1.2], [0.8, 0.5]]),
        torch.tensor([[[1.0, 2, 3], [4, 5, 6]], [[0.1, 0.2, 0.3], [1, 0, 1]]]),
    )
    out = module(torch.cat([x, v.flatten(1)], dim=1), torch.eye(2))
    scalars, vectors = module.weights
    # Each path has a second moment of 1, each degree half of the variance: ⟨x⁴⟩ = 3, ⟨(v·v)²⟩ = 15.
    for atom in range(2):
        for c in range(2):
            s, u, w = x[atom, c], v[atom, c], scalars[:, c, atom]
            # The order of the two quadratic paths and the sign of a Clebsch-Gordan coefficient are conventions.
            terms = s * w[0], s**2 / 3**0.5 * w[1] / 2**0.5, u @ u / 15**0.5 * w[2] / 2**0.5
            choices = [(terms[0] + a * terms[1] + b * terms[2]) / 2**0.5 for a in (1, -1) for b in (1, -1)]
            assert min(abs(float(out[atom, c] - choice)) for choice in choices) < 1e-12
            w = vectors[:, c, atom]
            vector = out[atom, 2 + 3 * c : 5 + 3 * c]
            choices = [(u * w[0] + a * s * u * w[1]) / 2**0.5 for a in (1, -1)]
            assert min(float((vector - choice).abs().max()) for choice in choices) < 1e-12


def test_atoms_and_channels_in_another_order():
    module = contraction(IN, OUT, 3, elements=2)
    x = torch.randn(6, module.irreps_in.dim, generator=torch.Generator().manual_seed(2))
    elements = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 0, 1, 0]), 2).double()
    order, out = torch.tensor([4, 2, 0, 5, 1, 3]), module(x, elements)
    assert torch.allclose(module(x[order], elements[order]), out[order], rtol=0, atol=1e-12)

    def exchanged(features: torch.Tensor, irreps: o3.Irreps) -> torch.Tensor:
        parts = features.split([term.dim for term in irreps], dim=1)
        return torch.cat([part.reshape(6, 3, -1).flip(1).flatten(1) for part in parts], dim=1)

    for weights in module.weights:
        weights.copy_(weights.flip(1))
    assert torch.allclose(
        module(exchanged(x, module.irreps_in), elements), exchanged(out, module.irreps_out), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_outputs_of_second_moment_one(correlation):
    """Over random weights and normal inputs of variance 1; an irrep without paths of degree 1 too."""
    torch.manual_seed(3)
    channels = 400
    irreps_in = o3.Irreps([(channels, "0e"), (channels, "1o")])
    irreps_out = o3.Irreps([*irreps_in, (channels, "2e")])
    module = SymmetricContraction(irreps_in, irreps_out, correlation=correlation, elements=1)
    with torch.no_grad():
        out = module(torch.randn(60, irreps_in.dim), torch.ones(60, 1))
    for part, (_, ir) in zip(irreps_out.slices(), irreps_out, strict=True):
        if ir.l < 2 or correlation > 1:
            assert float(out[:, part].square().mean()) == pytest.approx(1, abs=0.25)


def test_monomials_are_all_products_once():
    irreps = ((0, 1), (1, -1), (2, 1))
    for degree in (1, 2, 3):
        basis = monomials(irreps, degree)
        assert len(basis) == choose(9 + degree - 1, degree) == len({tuple(row) for row in basis.factors})
        owner = np.repeat([0, 1, 2], [1, 3, 5])
        assert (basis.contents == owner[basis.factors]).all()
        odd = (basis.contents == 1).sum(axis=1) % 2
        assert (odd == (np.arange(len(basis)) >= basis.even)).all()
        for order in permutations(range(degree)):
            assert (basis.find(basis.factors[:, order]) == np.arange(len(basis))).all()
        assert sum(len(run) for parity in (1, -1) for run in basis.runs(parity)) == len(basis)


def test_polynomial_and_its_second_moment():
    """A random tensor with three axes as a polynomial, against the tensor itself and a million normal points."""
    generator = np.random.default_rng(0)
    irreps = ((0, 1), (1, -1))
    tensor = generator.normal(size=(2, 3, 1, 3))
    basis = monomials(irreps, 3)
    coefficients = polynomial(tensor, [1, 0, 1], basis)
    x = generator.normal(size=(1_000_000, 4))
    few = x[:50]
    values = few[:, basis.factors].prod(axis=2) @ coefficients.T
    expected = np.einsum("Mijk,ni,nj,nk->nM", tensor, few[:, 1:], few[:, :1], few[:, 1:])
    assert np.allclose(values, expected, rtol=0, atol=1e-12)
    sample = np.einsum("ijk,ni,nj,nk->n", tensor[0], x[:, 1:], x[:, :1], x[:, 1:], optimize=True)
    assert second_moment(coefficients[0], basis) == pytest.approx((sample**2).mean(), rel=0.02)


def test_repr_states_irreps():
    module = contraction("2x0e+2x1o", "2x1o", 2)
    assert repr(module) == "SymmetricContraction(2x0e+2x1o -> 2x1o, correlation 2)"
