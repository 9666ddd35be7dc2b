"""Edges, radial functions and envelopes: closed forms, e3nn's own, smoothness at the cutoff."""

from math import pi

import pytest
import torch
from e3nn.math import soft_one_hot_linspace
from torch import Tensor

from tesseral.models.networks.graph import EdgeBasis, at_positions, build_graph, join, radial_functions, smooth_cutoff
from tesseral.study.configuration.network import Network
from tesseral.study.errors import DataError
from tests.support.periodic_structures import CELL, PLACES

BASES = ["gaussian", "bessel", "cosine"]
ENVELOPES = ["sine", "polynomial"]
SPECIES = torch.tensor([0, 1, 0, 0, 1])


def positions() -> Tensor:
    return 1.3 * torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(8))


def test_gaussians_and_the_sine_envelope():
    r = torch.linspace(0.5, 2.5, 201, dtype=torch.float64)
    values = radial_functions(r, 3.0, 20)
    assert values.shape == (201, 20)
    assert values.argmax(dim=1)[0] == 3  # the centre nearest to 0.5 is 4·3/21 = 0.571
    assert torch.allclose(values.square().mean(dim=1), torch.ones(201, dtype=torch.float64), atol=0.02)
    x = torch.tensor([0.2, 0.5, 0.75, 1.0, 1.2], dtype=torch.float64)
    assert torch.allclose(smooth_cutoff(x), torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0], dtype=torch.float64), atol=1e-15)


def test_bessel_functions_are_orthogonal_over_the_ball():
    """∫ φ_k φ_l r² dr is 0 for k ≠ l, and the mean of φ_k² over the ball is 1, at a cutoff of 10 Å as at 3 Å."""
    for cutoff in (3.0, 10.0):
        # The midpoint rule is exact for products of these sines but for rounding.
        r = (torch.arange(4000, dtype=torch.float64) + 0.5) * cutoff / 4000
        values = radial_functions(r, cutoff, 8, "bessel")
        gram = 3 / cutoff**3 * (values * r[:, None].square()).T @ values * cutoff / 4000
        assert torch.allclose(gram, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-10)


def test_bessel_functions_are_e3nns_but_for_a_factor():
    r = torch.linspace(0.1, 9.9, 50, dtype=torch.float64)
    theirs = soft_one_hot_linspace(r, 0.0, 10.0, 50, basis="bessel", cutoff=True)
    functions = radial_functions(r, 10.0, 50, "bessel")
    torch.testing.assert_close(functions, (10.0**3 / 3) ** 0.5 * theirs, rtol=1e-11, atol=1e-11)


def test_raised_cosines_are_squares_of_e3nns_cosines():
    r = torch.linspace(0.05, 3.4, 333, dtype=torch.float64)
    theirs = soft_one_hot_linspace(r, 0.0, 3.5, 9, basis="cosine", cutoff=True)
    functions = radial_functions(r, 3.5, 9, "cosine")
    torch.testing.assert_close(functions, (4 * 9 / 3) ** 0.5 * theirs.square(), rtol=0, atol=1e-12)
    assert ((functions > 1e-12).sum(dim=1) <= 2).all()
    inside = functions[(r > 0.35) & (r < 3.15)]
    torch.testing.assert_close(inside.sum(dim=1), torch.full_like(inside[:, 0], 12**0.5))
    assert float(inside.square().mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("basis", BASES)
def test_slopes_are_continuous(basis, envelope):
    """Forces are gradients: between distances 1e-6 apart the slope of φ and u changes by 1e-6 of its curvature."""
    r = torch.linspace(0.4, 3.7, 2_000_001, dtype=torch.float64, requires_grad=True)
    for value in (radial_functions(r, 3.5, 3, basis)[:, 1], smooth_cutoff(r / 3.5, envelope)):
        (slope,) = torch.autograd.grad(value.sum(), r)
        assert slope.abs().max() > 0.1
        assert float(slope.diff().abs().max()) < 1e-3


def test_the_polynomial_envelope_is_its_formula():
    x = torch.linspace(0, 1, 11, dtype=torch.float64)
    expected = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    torch.testing.assert_close(smooth_cutoff(x, "polynomial"), expected, rtol=0, atol=1e-13)
    assert (smooth_cutoff(torch.tensor([1.0, 1.5]), "polynomial") == 0).all()


@pytest.mark.parametrize(("envelope", "second"), [("sine", 2 * pi**2), ("polynomial", 0.0)])
def test_derivatives_of_the_envelope_at_the_cutoff(envelope, second):
    """Value and slope vanish there; the second derivative of the polynomial too, that of sin² jumps from 2π² to 0."""
    x = torch.tensor([1 - 1e-9], dtype=torch.float64, requires_grad=True)
    value = smooth_cutoff(x, envelope)
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, x)
    assert float(value.detach()) == pytest.approx(0, abs=1e-15)
    assert float(slope.detach()) == pytest.approx(0, abs=1e-7)
    assert float(curvature) == pytest.approx(second, abs=1e-6)


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("basis", BASES)
def test_gradients_pass_twice(basis, envelope):
    """First and second derivatives by the positions, against differences; some edges lie near the cutoff."""
    settings = Network(radial_basis=basis, radial_envelope=envelope, radial_functions=4, radial_cutoff=3.0)
    edges = EdgeBasis.from_settings(settings)
    graph = build_graph(SPECIES, positions(), 2, edges)

    def values(points: Tensor) -> tuple[Tensor, Tensor]:
        moved = at_positions(graph, points, edges)
        return moved.harmonics, moved.radial

    start = positions().requires_grad_()
    assert torch.autograd.gradcheck(values, start, eps=1e-6, atol=1e-7)
    assert torch.autograd.gradgradcheck(values, start, eps=1e-6, atol=1e-6)


def test_a_graph_and_one_at_its_positions_agree_in_every_basis():
    for basis in BASES:
        for envelope in ENVELOPES:
            edges = EdgeBasis.from_settings(Network(radial_basis=basis, radial_envelope=envelope))
            graph = build_graph(SPECIES, positions(), 2, edges)
            again = at_positions(graph, positions(), edges)
            torch.testing.assert_close(again.harmonics, graph.harmonics, rtol=0, atol=1e-12)
            torch.testing.assert_close(again.radial, graph.radial, rtol=0, atol=1e-12)


def test_edges_join_neighbours_both_ways():
    places = positions()
    one = build_graph(SPECIES, places, 2, EdgeBasis(cutoff=2.0, lmax=1, number=3))
    distances = torch.cdist(places, places)
    expected = {(i, j) for i in range(5) for j in range(5) if i != j and distances[i, j] < 2.0}
    edges = list(zip(one.source.tolist(), one.destination.tolist(), strict=True))
    assert len(edges) == len(set(edges))
    assert set(edges) == expected
    first = places[one.source[0]] - places[one.destination[0]]
    factor = smooth_cutoff(first.norm() / 2.0)
    assert torch.allclose(one.harmonics[0, 1:], factor * 3**0.5 * first / first.norm(), atol=1e-14)


def test_two_atoms_at_one_place_are_refused():
    with pytest.raises(DataError, match="two at one place"):
        build_graph(SPECIES[:2], torch.zeros(2, 3), 2, EdgeBasis(cutoff=2.0, lmax=1, number=3))


def test_a_cell_joins_a_molecule_in_a_batch():
    """The molecule's edges have no shift; both keep their own edges, and both vanish together at the cutoff."""
    basis, species = EdgeBasis(3.0, 2, 6), torch.tensor([0, 1, 1])
    places = torch.tensor(PLACES)
    cell, molecule = (build_graph(species, places, 2, basis, cell=box) for box in (CELL, None))
    both = join([molecule, cell, molecule])
    assert molecule.shift.shape == (0, 3)
    edges = len(molecule.source)
    assert both.shift.shape == (len(both.source), 3)
    assert not both.shift[:edges].any()
    assert not both.shift[-edges:].any()
    torch.testing.assert_close(both.shift[edges:-edges], cell.shift)
    again = at_positions(both, both.positions, basis)
    torch.testing.assert_close(again.harmonics[edges:-edges], cell.harmonics, rtol=0, atol=1e-14)
    torch.testing.assert_close(both.cell[1], torch.tensor(CELL))
    assert not both.cell[[0, 2]].any()
    assert (both.destination.diff() >= 0).all()
    assert torch.equal(both.reverse[both.reverse], torch.arange(len(both.source)))


def test_a_strain_is_that_of_the_cell_and_its_atoms():
    """ε on the graph is the graph of (1 + ε) r and (1 + ε) a, for every vector r and lattice vector a."""
    basis, species = EdgeBasis(3.0, 2, 6), torch.tensor([0, 1, 1])
    strain = 1e-3 * torch.tensor([[1.0, 0.4, 0.2], [0.4, -0.3, 0.7], [0.2, 0.7, 0.5]], dtype=torch.float64)
    stretched = (torch.eye(3) + strain).numpy()
    graph = build_graph(species, torch.tensor(PLACES), 2, basis, cell=CELL)
    found = at_positions(graph, graph.positions, basis, strain[None])
    expected = build_graph(species, torch.tensor(PLACES @ stretched), 2, basis, cell=CELL @ stretched)
    torch.testing.assert_close(found.harmonics, expected.harmonics, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.radial, expected.radial, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.positions, expected.positions, rtol=0, atol=1e-14)
