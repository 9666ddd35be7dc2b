"""Densities on points against PySCF's own evaluation, and ε against closed forms."""

from math import gamma, pi, sqrt
from typing import NamedTuple

import numpy as np
import pytest
import torch
from e3nn import o3
from pyscf import dft, gto

from tesseral.models import density
from tesseral.models.auxiliary import AuxiliaryBasis, Shell
from tesseral.models.density import density_on_points, epsilon_by_order
from tesseral.models.density_fit import (
    auxiliary_molecule,
    auxiliary_shells,
    e3nn_rotation,
    fit_density,
    function_charges,
)
from tesseral.models.quadrature import BOHR, Grid, atom_grid

NUMBERS = (8, 1, 1)
POSITIONS = torch.tensor([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]], dtype=torch.float64)


class Fit(NamedTuple):
    """The arguments of `epsilon_by_order`, but for the grid."""

    basis: AuxiliaryBasis
    numbers: tuple[int, ...]
    positions: torch.Tensor
    other: list[torch.Tensor]
    reference: list[torch.Tensor]


def basis(decontracted: bool = True) -> AuxiliaryBasis:
    return AuxiliaryBasis("jfit", {z: auxiliary_shells(z, "def2-universal-jfit", decontracted) for z in (1, 8)})


def random_coefficients(of: AuxiliaryBasis, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(of.size(number), generator=generator, dtype=torch.float64) for number in NUMBERS]


def electron_like(of: AuxiliaryBasis) -> list[torch.Tensor]:
    """A density that is positive everywhere: one in each s function."""
    return [
        torch.tensor([float(shell.l == 0) for shell in of.shells[z] for _ in range(2 * shell.l + 1)]).double()
        for z in NUMBERS
    ]


@pytest.mark.parametrize("decontracted", [True, False])
def test_density_is_pyscfs(decontracted):
    """PySCF's functions in its own axes: with wrong axes or order any l would differ by its own size."""
    mine = basis(decontracted)
    molecule = auxiliary_molecule(mine.shells, NUMBERS, POSITIONS.numpy())
    coefficients = random_coefficients(mine, 1)
    points = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = molecule.eval_gto("GTOval_sph", points.numpy() / 0.52917721092)
    expected = values @ (e3nn_rotation(molecule).T @ torch.cat(coefficients).numpy())
    found = density_on_points(mine, NUMBERS, POSITIONS, coefficients, points).numpy()
    assert np.abs(found - expected).max() < 1e-12 * np.abs(expected).max()


def test_orders_add_up():
    mine, points = basis(), torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    coefficients = random_coefficients(mine, 4)
    whole = density_on_points(mine, NUMBERS, POSITIONS, coefficients, points)
    parts = [density_on_points(mine, NUMBERS, POSITIONS, coefficients, points, order) for order in range(5)]
    torch.testing.assert_close(sum(parts), whole)
    assert all(part.abs().max() > 0 for part in parts)


def test_density_has_the_charge_of_its_coefficients():
    mine = basis()
    coefficients, grid = random_coefficients(mine, 7), atom_grid(POSITIONS)
    shells = [shell for z in NUMBERS for shell in mine.shells[z] for _ in range(2 * shell.l + 1)]
    expected = sum(c * shell.charge for c, shell in zip(torch.cat(coefficients).tolist(), shells, strict=True))
    found = density_on_points(mine, NUMBERS, POSITIONS, coefficients, grid.points) @ grid.weights
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_epsilon_of_a_density_that_is_too_large_by_a_tenth():
    mine = basis()
    reference = electron_like(mine)
    larger = [1.1 * part for part in reference]
    found = epsilon_by_order(mine, NUMBERS, POSITIONS, larger, reference)
    assert found[None] == pytest.approx(10)
    assert found[0] == pytest.approx(10)
    assert [found[order] for order in (1, 2, 3, 4)] == [0, 0, 0, 0]
    assert epsilon_by_order(mine, NUMBERS, POSITIONS, reference, reference)[None] == 0


def test_epsilon_of_a_missing_function_in_closed_form():
    exponent = 0.7
    mine = AuxiliaryBasis("sp", {1: (Shell(0, (0.5,), (1.0,)), Shell(1, (exponent,), (1.0,)))})
    reference = [torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)]
    other = [torch.tensor([1.0, 0.6, 0.0, 0.0], dtype=torch.float64)]
    # χ = n √(3/4π) x exp(−ar²) and ∫|x| exp(−ar²) = π / a², with n² = 2 (2a)^(5/2) / Γ(5/2).
    size = sqrt(2 * (2 * exponent) ** 2.5 / gamma(2.5)) * sqrt(3 / (4 * pi)) * pi / exponent**2
    found = epsilon_by_order(mine, (1,), POSITIONS[:1], other, reference)
    assert found[1] == pytest.approx(100 * 0.6 * size / mine.shells[1][0].charge, rel=3e-3)
    assert found[None] == pytest.approx(found[1])


def test_epsilon_is_the_formula_on_the_grid(monkeypatch):
    mine = basis()
    reference = electron_like(mine)
    other = [a + 0.01 * b for a, b in zip(reference, random_coefficients(mine, 5), strict=True)]
    points, weights = grid = atom_grid(POSITIONS, radii=20, precision=11)
    there = density_on_points(mine, NUMBERS, POSITIONS, reference, points)
    here = density_on_points(mine, NUMBERS, POSITIONS, other, points)
    monkeypatch.setattr(density, "CHUNK", 97)
    found = epsilon_by_order(mine, NUMBERS, POSITIONS, other, reference, grid)
    assert found[None] == pytest.approx(100 * float((here - there).abs() @ weights / (there @ weights)))
    for order in range(5):
        part = density_on_points(mine, NUMBERS, POSITIONS, other, points, order)
        part = part - density_on_points(mine, NUMBERS, POSITIONS, reference, points, order)
        assert found[order] == pytest.approx(100 * float(part.abs() @ weights / (there @ weights)))


@pytest.fixture(scope="module")
def dimer() -> Fit:
    """A fitted Hartree-Fock density of two waters, and the same with an error in every coefficient."""
    numbers = NUMBERS * 2
    turn = o3.axis_angle_to_matrix(torch.tensor([0.6, 0.0, 0.8]), torch.tensor(1.3)).double()
    positions = torch.cat([POSITIONS, POSITIONS @ turn.T + torch.tensor([2.6, 0.4, -0.9])])
    mine = basis()
    molecule = gto.M(
        atom=[(n, tuple(r)) for n, r in zip(numbers, positions.tolist(), strict=True)], basis="def2-svp", verbose=0
    )
    auxiliary = auxiliary_molecule(mine.shells, numbers, positions.numpy())
    matrix = molecule.RHF().run().make_rdm1()
    fitted = fit_density(molecule, matrix, auxiliary, function_charges(mine.shells, numbers), "coulomb")
    sizes = [mine.size(number) for number in numbers]
    reference = torch.from_numpy(e3nn_rotation(auxiliary) @ fitted).split(sizes)
    errors = torch.randn(sum(sizes), dtype=torch.float64, generator=torch.Generator().manual_seed(8)).split(sizes)
    other = [c + 1e-3 * error for c, error in zip(reference, errors, strict=True)]
    return Fit(mine, numbers, positions, other, reference)


def test_a_fitted_density_has_its_electrons(dimer):
    for offset in (0.0, 0.037, 0.08):
        moved = dimer.positions + offset
        points, weights = atom_grid(moved)
        found = density_on_points(dimer.basis, dimer.numbers, moved, dimer.reference, points) @ weights
        assert float(found) == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("level", [3, 5])
def test_epsilon_is_that_on_pyscfs_grid(dimer, level):
    """Another partition (with atomic radii), other radii, other directions and pruning."""
    grids = dft.gen_grid.Grids(auxiliary_molecule(dimer.basis.shells, dimer.numbers, dimer.positions.numpy()))
    grids.level = level
    grids.build(with_non0tab=False)
    grid = Grid(torch.from_numpy(grids.coords) * BOHR, torch.from_numpy(grids.weights))
    expected, found = epsilon_by_order(*dimer, grid), epsilon_by_order(*dimer)
    assert found[None] == pytest.approx(expected[None], rel=5e-3)
    assert found == pytest.approx(expected, rel=1e-2)


def test_epsilon_moves_and_turns_with_the_molecule(dimer):
    expected = epsilon_by_order(*dimer, atom_grid(dimer.positions, radii=60, precision=47))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        rotation = o3.angles_to_matrix(*(6 * torch.rand(3, dtype=torch.float64, generator=generator)))
        shift = torch.rand(3, dtype=torch.float64, generator=generator)
        matrices = {
            z: torch.block_diag(
                *(o3.Irrep(s.l, (-1) ** s.l).D_from_matrix(rotation).double() for s in dimer.basis.shells[z])
            )
            for z in (1, 8)
        }
        found = epsilon_by_order(
            dimer.basis,
            dimer.numbers,
            dimer.positions @ rotation.T + shift,
            [matrices[z] @ c for z, c in zip(dimer.numbers, dimer.other, strict=True)],
            [matrices[z] @ c for z, c in zip(dimer.numbers, dimer.reference, strict=True)],
        )
        assert found[None] == pytest.approx(expected[None], rel=2e-3)
        assert found == pytest.approx(expected, rel=1e-2)


def test_epsilon_is_near_the_published_sum(dimer):
    """Over uniform grids of 0.1 Å that end 3 Å from the atoms, on one water: where their points fall on the oxygen
    core changes it by several percent, so two grids half a step apart are averaged.
    """
    water = Fit(dimer.basis, NUMBERS, POSITIONS, dimer.other[:3], dimer.reference[:3])
    low, high = POSITIONS.amin(dim=0) - 3, POSITIONS.amax(dim=0) + 3
    published = []
    for start in (low, low - 0.05):
        sides = [
            torch.arange(a, b, 0.1, dtype=torch.float64) for a, b in zip(start.tolist(), high.tolist(), strict=True)
        ]
        points = torch.cartesian_prod(*sides)
        published.append(epsilon_by_order(*water, Grid(points, torch.ones(len(points), dtype=torch.float64)))[None])
    assert epsilon_by_order(*water)[None] == pytest.approx(np.mean(published), rel=0.02)


def test_gradients_pass_to_positions_and_coefficients():
    mine = basis()
    coefficients = [part.requires_grad_() for part in random_coefficients(mine, 6)]
    positions = POSITIONS.clone().requires_grad_()
    points = torch.tensor([[0.3, 0.4, 0.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda r, *c: density_on_points(mine, NUMBERS, r, c, points), (positions, *coefficients)
    )
