"""Potentials against PySCF's integrals and closed forms, and the shell of points."""

import numpy as np
import pytest
import torch
from pyscf import gto

from tesseral.models.density import potential
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.potential import RADII, SHELL_SCALE, potential_on_points, shell_of_points
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, e3nn_rotation
from tesseral.study.constants import BOHR
from tests.support.fitted_density import hydrogen_sulfide, water

NUMBERS = (8, 1, 1)
POSITIONS = torch.tensor([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]], dtype=torch.float64)


def by_pyscf(basis, numbers, positions, coefficients, points) -> np.ndarray:
    """Two-centre integrals with point charges."""
    auxiliary = auxiliary_molecule(basis.shells, numbers, positions.numpy())
    vector = e3nn_rotation(auxiliary).T @ torch.cat(coefficients).numpy()
    electrons = gto.intor_cross("int2c2e", gto.fakemol_for_charges(points.numpy() / BOHR), auxiliary) @ vector
    distances = (points[:, None] - positions).norm(dim=2).numpy() / BOHR
    return (np.array(numbers) / distances).sum(axis=1) - electrons


@pytest.mark.parametrize("decontracted", [True, False])
def test_the_potential_of_every_function_is_pyscfs(decontracted, monkeypatch):
    """Random coefficients, at points among the atoms and far away."""
    monkeypatch.setattr(potential, "CHUNK", 7)
    basis = AuxiliaryBasis("jfit", {z: auxiliary_shells(z, "def2-universal-jfit", decontracted) for z in (1, 8)})
    generator = torch.Generator().manual_seed(1)
    coefficients = [torch.randn(basis.size(z), generator=generator, dtype=torch.float64) for z in NUMBERS]
    near = torch.randn(60, 3, dtype=torch.float64, generator=generator)
    points = torch.cat([near, 20 * near[:20], 1e-3 * near[:5] + POSITIONS[0]])
    expected = by_pyscf(basis, NUMBERS, POSITIONS, coefficients, points)
    values = potential_on_points(basis, NUMBERS, POSITIONS, coefficients, points).numpy()
    assert np.abs(values - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("fit", [water, hydrogen_sulfide])
def test_the_potential_on_the_shell_is_pyscfs(fit):
    basis, numbers, positions, _, reference = fit()
    points = shell_of_points(numbers, positions)
    expected = by_pyscf(basis, numbers, positions, reference, points)
    potential = potential_on_points(basis, numbers, positions, reference, points).numpy()
    assert np.abs(potential - expected).max() < 1e-10
    without = potential_on_points(basis, numbers, positions, reference, points, nuclei=False)
    assert (without < -1).all()  # the electrons alone


def test_a_molecules_potential_falls_off_as_its_dipoles():
    """V → μ·r / r³ with μ from PySCF's integrals over the auxiliary functions."""
    basis, numbers, positions, _, reference = water()
    auxiliary = auxiliary_molecule(basis.shells, numbers, positions.numpy())
    charges = np.array(numbers)
    bohr = positions.numpy() / BOHR
    centre = charges @ bohr / charges.sum()
    one = gto.M(atom="ghost-H 0 0 0", basis={"ghost-H": [[0, [1e-12, 1.0]]]}, spin=None, verbose=0)
    auxiliary.set_common_orig(centre)
    # The function of almost no exponent, brought to 1, is the constant of the integral ∫ χ r.
    both = auxiliary + one
    both.set_common_orig(centre)
    width = auxiliary.nao
    constant = both.eval_gto("GTOval_sph", centre[None])[0, width]
    moments = both.intor("int1e_r")[:, :width, width] / constant
    dipole = -moments @ (e3nn_rotation(auxiliary).T @ torch.cat(reference).numpy())
    direction = np.array([0.48, 0.6, 0.64])
    distance = 4000.0
    point = torch.tensor(centre + distance * direction)[None] * BOHR
    potential = float(potential_on_points(basis, numbers, positions, reference, point))
    assert potential == pytest.approx(dipole @ direction / distance**2, rel=5e-3)


def test_points_of_the_shell_lie_on_the_surface():
    points = shell_of_points(NUMBERS, POSITIONS)
    radii = SHELL_SCALE * torch.tensor([RADII[number] for number in NUMBERS], dtype=torch.float64)
    depth = (points[:, None] - POSITIONS).norm(dim=2) - radii
    torch.testing.assert_close(depth.amin(dim=1), torch.zeros(len(points), dtype=torch.float64), rtol=0, atol=1e-12)
    assert (depth.abs() < 1e-9).any(dim=0).all()  # every atom has some


def test_the_shell_of_one_atom_is_even():
    points = shell_of_points((10,), POSITIONS[:1], density=20.0)
    directions = torch.nn.functional.normalize(points - POSITIONS[0], dim=1)
    torch.testing.assert_close(directions.mean(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-3)
    second = directions.T @ directions / len(directions)
    torch.testing.assert_close(second, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=1e-3)
    assert len(points) == round(4 * np.pi * (SHELL_SCALE * RADII[10]) ** 2 * 20)


def test_an_element_without_a_radius_has_a_shell():
    assert len(shell_of_points((92,), POSITIONS[:1])) > 0


def test_gradients_pass_to_positions_coefficients_and_points():
    basis = AuxiliaryBasis("jfit", {1: auxiliary_shells(1, "def2-universal-jfit", True)})
    generator = torch.Generator().manual_seed(3)
    coefficients = [torch.randn(basis.size(1), generator=generator, dtype=torch.float64) for _ in range(2)]
    points = torch.tensor([[0.3, 0.4, 0.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda r, p, *c: potential_on_points(basis, (1, 1), r, c, p),
        (POSITIONS[1:].clone().requires_grad_(), points.requires_grad_(), *(c.requires_grad_() for c in coefficients)),
    )
