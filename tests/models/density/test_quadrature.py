"""Integrals about atoms against closed forms and PySCF's densities."""

import numpy as np
import pytest
import torch
from pyscf import dft, gto

from tesseral.models.density.quadrature import PRECISION, RADII, along_curve, atom_grid
from tesseral.study.constants import BOHR

POSITIONS = torch.tensor([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("exponent", "error"), [(0.15, 1e-5), (1.0, 1e-5), (30.0, 1e-5), (300.0, 1e-5), (3000.0, 2e-4)]
)
@pytest.mark.parametrize("atom", [0, 1])
def test_a_gaussian_on_an_atom(exponent, error, atom):
    points, weights = atom_grid(POSITIONS)
    squared = ((points - POSITIONS[atom]) / BOHR).square().sum(dim=1)
    integral = float(torch.exp(-exponent * squared) @ weights)
    assert integral == pytest.approx((np.pi / exponent) ** 1.5, rel=error)


def test_the_second_moment_of_a_gaussian_between_atoms():
    """∫ x_i x_j exp(−ar²) = δ_ij (π/a)^(3/2) / 2a."""
    points, weights = atom_grid(POSITIONS)
    r = (points - POSITIONS.mean(dim=0)) / BOHR
    moment = torch.einsum("g,gi,gj->ij", weights * torch.exp(-0.8 * r.square().sum(dim=1)), r, r)
    expected = torch.eye(3, dtype=torch.float64) * (np.pi / 0.8) ** 1.5 / 1.6
    torch.testing.assert_close(moment, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "atoms", ["O 0 0 0; H 0.96 0 0; H -0.24 0.93 0", "S 0 0 0; O 1.43 0 0; O -0.71 1.24 0", "Br 0 0 0; H 0 1.41 0"]
)
def test_pyscfs_densities_have_their_electrons(atoms):
    molecule = gto.M(atom=atoms, basis="def2-svp", verbose=0)
    matrix = molecule.RHF().run(conv_tol=1e-6).make_rdm1()
    points, weights = atom_grid(torch.from_numpy(molecule.atom_coords(unit="Angstrom")))
    values = molecule.eval_gto("GTOval_sph", points.numpy() / BOHR)
    density = dft.numint.eval_rho(molecule, values, matrix)
    assert density @ weights.numpy() == pytest.approx(molecule.nelectron, rel=1e-5)


def test_one_atom_takes_all_space():
    points, weights = atom_grid(POSITIONS[:1])
    assert len(points) == len(weights) == RADII * 302
    assert (weights > 0).all()
    distances = (points - POSITIONS[0]).norm(dim=1)
    assert len(distances.mul(1e9).round().unique()) == RADII


def test_two_atoms_share_space_equally():
    """At the plane between them a half is each one's, and what one has the other has mirrored."""
    positions = torch.tensor([[0.0, 0.0, -0.6], [0.0, 0.0, 0.6]], dtype=torch.float64)
    points, weights = atom_grid(positions)
    alone = atom_grid(positions[:1]).weights
    first, second = points.split(len(alone))
    shares = weights[: len(alone)] / alone
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (shares[first[:, 2] < -1e-6] > 0.5).all()
    assert (shares[first[:, 2] > 1e-6] < 0.5).all()
    mirrored = torch.cdist(second * torch.tensor([1, 1, -1]), first[:400]).argmin(dim=0)
    torch.testing.assert_close(weights[len(alone) :][mirrored], weights[:400], rtol=1e-6, atol=0)


def test_a_finer_grid_is_nearer():
    """An integrand that the default size only nearly integrates: a function far from every atom."""
    centre, exponent = POSITIONS[0] + torch.tensor([0.0, 0.0, 1.1]), 3.0
    errors = []
    for radii, precision in ((RADII // 2, 11), (RADII, PRECISION), (2 * RADII, 53)):
        points, weights = atom_grid(POSITIONS, radii, precision)
        integral = torch.exp(-exponent * ((points - centre) / BOHR).square().sum(dim=1)) @ weights
        errors.append(abs(float(integral) / (np.pi / exponent) ** 1.5 - 1))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_the_grid_is_double_and_without_a_gradient():
    points, weights = atom_grid(POSITIONS.float().requires_grad_())
    assert points.dtype == weights.dtype == torch.float64
    assert not points.requires_grad
    assert not weights.requires_grad


def test_chunks_are_all_points_near_each_other():
    grid = atom_grid(POSITIONS)
    parts = list(grid.chunks(500))
    assert max(len(part.points) for part in parts) == 500
    assert sum(len(part.points) for part in parts) == len(grid.points)
    assert float(sum(part.weights.sum() for part in parts)) == pytest.approx(float(grid.weights.sum()))
    assert len(torch.cat([part.points for part in parts]).unique(dim=0)) == len(grid.points.unique(dim=0))
    inside = [part.points.std(dim=0).norm() for part in parts]
    assert float(np.median(inside)) < 0.25 * float(grid.points.std(dim=0).norm())


def test_the_curve_visits_cells_one_by_one():
    points = torch.rand(4000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    order = along_curve(points, cell=1.0)
    assert order.sort().values.tolist() == list(range(4000))
    cells = (points[order] - points.amin(dim=0)).floor().long()
    changes = int((cells.diff(dim=0).abs().sum(dim=1) > 0).sum())
    assert changes == len(cells.unique(dim=0)) - 1


@pytest.mark.parametrize("cell", [0.5, 1e-3], ids=["short numbers", "long numbers"])
def test_the_curve_follows_the_interleaved_bits_of_the_cells(cell):
    draw = np.random.default_rng(0)
    places = draw.permutation(4**3)[:, None] // 4 ** np.arange(3) % 4 * (1 if cell == 0.5 else 1500)

    def along(place):
        return sum((int(number) >> bit & 1) << 3 * bit + axis for axis, number in enumerate(place) for bit in range(16))

    points = torch.from_numpy((places + 0.5) * cell)
    assert along_curve(points, cell).tolist() == sorted(range(len(places)), key=lambda index: along(places[index]))


@pytest.mark.parametrize("far", [1e12, 1e300, np.inf, -np.inf, np.nan])
def test_points_far_apart_are_in_some_order(far):
    points = torch.tensor([[0.0, 0, 0], [far, 0, 0], [0, 1, 0]], dtype=torch.float64)
    assert sorted(along_curve(points).tolist()) == [0, 1, 2]
