"""Densities on points against PySCF's own evaluation, and ε against closed forms."""

import numpy as np
import pytest
import torch

from tesseral.models import density
from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.density import density_on_points, epsilon, epsilon_by_order, uniform_grid
from tesseral.models.density_fit import auxiliary_molecule, auxiliary_shells, e3nn_rotation

torch.set_num_threads(1)

NUMBERS = (8, 1, 1)
POSITIONS = torch.tensor([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]], dtype=torch.float64)


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
    """The grid sum of one flat s function of unit norm is ∫χ = (2π/a)^(3/4) · 2^(3/4)… in closed form (2π/a)^(3/4)."""
    mine = basis()
    shells = mine.shells[1]
    flattest = max(i for i, shell in enumerate(shells) if shell.l == 0)
    coefficients = [torch.zeros(mine.size(1), dtype=torch.float64)]
    coefficients[0][flattest] = 1.0
    spacing, centre = 0.3, torch.zeros(1, 3, dtype=torch.float64)
    total = sum(
        float(density_on_points(mine, (1,), centre, coefficients, points).sum())
        for points in uniform_grid(centre, spacing, margin=6.0)
    )
    expected = (2 * np.pi / shells[flattest].exponents[0]) ** 0.75
    assert total * (spacing / density.BOHR) ** 3 == pytest.approx(expected, rel=1e-6)


def test_epsilon_of_a_density_that_is_too_large_by_a_tenth():
    mine = basis()
    reference = electron_like(mine)
    larger = [1.1 * part for part in reference]
    found = epsilon_by_order(mine, NUMBERS, POSITIONS, larger, reference, spacing=0.5)
    assert found[None] == pytest.approx(10)
    assert found[0] == pytest.approx(10)
    assert [found[order] for order in (1, 2, 3, 4)] == [0, 0, 0, 0]
    assert epsilon(mine, NUMBERS, POSITIONS, reference, reference, spacing=0.5) == 0


def test_epsilon_is_the_formula_on_the_grid():
    mine = basis()
    reference = electron_like(mine)
    other = [a + 0.01 * b for a, b in zip(reference, random_coefficients(mine, 5), strict=True)]
    points = torch.cat(list(uniform_grid(POSITIONS, 0.5, 3.0)))
    there = density_on_points(mine, NUMBERS, POSITIONS, reference, points)
    here = density_on_points(mine, NUMBERS, POSITIONS, other, points)
    expected = 100 * float((here - there).abs().sum() / there.sum())
    found = epsilon_by_order(mine, NUMBERS, POSITIONS, other, reference, spacing=0.5)
    assert found[None] == pytest.approx(expected)
    for order in range(5):
        part = density_on_points(mine, NUMBERS, POSITIONS, other, points, order)
        part = part - density_on_points(mine, NUMBERS, POSITIONS, reference, points, order)
        assert found[order] == pytest.approx(100 * float(part.abs().sum() / there.sum()))


def test_the_grid_covers_the_box_and_its_chunks_change_nothing(monkeypatch):
    whole = torch.cat(list(uniform_grid(POSITIONS, 0.5, 3.0)))
    low, high = POSITIONS.amin(dim=0) - 3.0, POSITIONS.amax(dim=0) + 3.0
    torch.testing.assert_close(whole.amin(dim=0), low)
    assert ((high - whole.amax(dim=0)) < 0.5).all()
    assert ((high - whole.amax(dim=0)) >= 0).all()
    assert len(whole) == np.prod([int((high[i] - low[i]) / 0.5) + 1 for i in range(3)])
    assert len(torch.unique(whole, dim=0)) == len(whole)
    monkeypatch.setattr(density, "CHUNK", 97)
    chunks = list(uniform_grid(POSITIONS, 0.5, 3.0))
    assert max(map(len, chunks)) == 97
    assert torch.equal(torch.cat(chunks), whole)


def test_gradients_pass_to_positions_and_coefficients():
    mine = basis()
    coefficients = [part.requires_grad_() for part in random_coefficients(mine, 6)]
    positions = POSITIONS.clone().requires_grad_()
    points = torch.tensor([[0.3, 0.4, 0.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda r, *c: density_on_points(mine, NUMBERS, r, c, points), (positions, *coefficients)
    )
