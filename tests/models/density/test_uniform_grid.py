"""The published sum against PySCF's own functions on the same points, and its coarsening against the whole."""

from math import prod

import numpy as np
import pytest
import torch
from e3nn import o3

from tesseral.models.density.density import epsilon_by_order
from tesseral.models.density.uniform_grid import COARSE, CubeGrid, Level, cube_grid
from tesseral.study.constants import BOHR
from tests.support.fitted_density import WATER, Fit, by_pyscf, fitted, hydrogen_sulfide, methyl_chloride, water

POSITIONS = torch.tensor(WATER, dtype=torch.float64)


def whole(grid: CubeGrid) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(grid.chunks(1000))
    return torch.cat([part.points for part in parts]), torch.cat([part.weights for part in parts])


def test_points_are_a_lattice_with_a_margin():
    grid = cube_grid(POSITIONS)
    points, weights = whole(grid)
    x, y, z = grid.shape
    assert len(points) == x * y * z == len(points.mul(1e6).round().unique(dim=0))
    torch.testing.assert_close(points.amin(dim=0), POSITIONS.amin(dim=0) - 3)
    beyond = POSITIONS.amax(dim=0) + 3 - points.amax(dim=0)
    assert ((beyond > -1e-9) & (beyond < 0.1)).all()
    places = (points - grid.origin) / 0.1
    torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-9)
    torch.testing.assert_close(weights, torch.full_like(weights, (0.1 / BOHR) ** 3))


def test_a_length_of_whole_spacings_has_both_ends():
    assert cube_grid(torch.zeros(1, 3), spacing=0.1, margin=3.0).shape == (61, 61, 61)


def test_the_authors_counts():
    """Their code: the mean of int(length / spacing) + 1 along each axis, from end to end."""
    grid = cube_grid(POSITIONS, same_counts=True)
    lengths = (POSITIONS.amax(dim=0) - POSITIONS.amin(dim=0) + 6).tolist()
    count = int(sum(int(length / 0.1) + 1 for length in lengths) / 3)
    expected = torch.cartesian_prod(
        *(
            torch.linspace(low - 3, high + 3, count, dtype=torch.float64)
            for low, high in zip(POSITIONS.amin(dim=0).tolist(), POSITIONS.amax(dim=0).tolist(), strict=True)
        )
    )
    points = whole(grid)[0].numpy()
    assert grid.shape == (count,) * 3
    in_order = points[np.lexsort(points.round(6).T[::-1])]
    assert np.abs(in_order - expected.numpy()).max() < 1e-9


@pytest.mark.parametrize("size", [97, 1000, 50_000])
def test_chunks_hold_no_more_than_their_size(size):
    grid = cube_grid(POSITIONS, spacing=0.3, levels=COARSE)
    parts = [len(part.points) for part in grid.chunks(size)]
    assert 0 < max(parts) <= size
    assert sum(parts) == len(whole(grid)[0])


@pytest.mark.parametrize("levels", [COARSE, (Level(1, 0.2, 0.6), Level(3))])
@pytest.mark.parametrize("spacing", [0.1, 0.13])
def test_levels_share_out_the_whole_volume(levels, spacing):
    """Of every step, with or without points left over at the ends."""
    grid = cube_grid(POSITIONS, spacing, levels=levels)
    points, weights = whole(grid)
    volume = prod(grid.shape) * (spacing / BOHR) ** 3
    assert float(weights.sum()) == pytest.approx(volume, rel=2e-3)
    assert len(points) < prod(grid.shape) / 10
    # A function that varies little from cell to cell has the same sum.
    every, volumes = whole(cube_grid(POSITIONS, spacing))
    sums = [
        float(torch.exp(-0.3 * (r - POSITIONS[0]).square().sum(dim=1)) @ w)
        for r, w in ((points, weights), (every, volumes))
    ]
    assert sums[0] == pytest.approx(sums[1], rel=5e-3)


def test_the_core_keeps_every_point():
    grid = cube_grid(POSITIONS, levels=COARSE)
    points, weights = whole(grid)
    every, _ = whole(cube_grid(POSITIONS))
    for centre in POSITIONS:
        near = weights[(points - centre).norm(dim=1) < 0.29]
        assert len(near) == int(((every - centre).norm(dim=1) < 0.29).sum())
        torch.testing.assert_close(near, torch.full_like(near, (0.1 / BOHR) ** 3))


@pytest.mark.parametrize("fit", [water, hydrogen_sulfide])
def test_the_published_epsilon_is_pyscfs(fit):
    """100 Σ|ρ − ρ_ref| / Σρ_ref, both densities by PySCF's functions on points laid out here."""
    made = fit()
    low, high = made.positions.numpy().min(axis=0) - 3, made.positions.numpy().max(axis=0) + 3
    sides = [np.arange(a, b + 1e-9, 0.1) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    here, there = by_pyscf(made, made.other, points), by_pyscf(made, made.reference, points)
    expected = 100 * np.abs(here - there).sum() / there.sum()
    assert epsilon_by_order(*made, cube_grid(made.positions))[None] == pytest.approx(expected, rel=1e-9)


def turned(fit: Fit, seed: int) -> Fit:
    """The molecule turned at random, so that it lies elsewhere on the lattice."""
    angles = 6 * torch.rand(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rotation = o3.angles_to_matrix(*angles)
    matrices = {
        z: torch.block_diag(*(o3.Irrep(s.l, (-1) ** s.l).D_from_matrix(rotation).double() for s in shells))
        for z, shells in fit.basis.shells.items()
    }
    both = [[matrices[z] @ c for z, c in zip(fit.numbers, part, strict=True)] for part in (fit.other, fit.reference)]
    return Fit(fit.basis, fit.numbers, fit.positions @ rotation.T, *both)


def dimer() -> Fit:
    shifted = [[-x + 2.7, z + 0.4, y - 0.9] for x, y, z in WATER]
    return fitted((8, 1, 1) * 2, tuple(map(tuple, WATER + shifted)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fit", [water, dimer, hydrogen_sulfide, methyl_chloride])
def test_the_coarse_epsilon_is_the_published_one(fit, seed):
    """To better than 1 %, at every order, with at most a fifteenth of the points."""
    made = turned(fit(), seed)
    grid, coarse = cube_grid(made.positions), cube_grid(made.positions, levels=COARSE)
    expected, epsilons = epsilon_by_order(*made, grid), epsilon_by_order(*made, coarse)
    assert epsilons[None] == pytest.approx(expected[None], rel=4e-3)
    assert epsilons == pytest.approx(expected, rel=8e-3)
    assert len(whole(coarse)[0]) < prod(grid.shape) / 15


def test_a_uniform_coarsening_would_miss_it():
    """Why the cores are kept: four times the spacing is off by more than 1 %."""
    made = water()
    expected = epsilon_by_order(*made, cube_grid(made.positions))[None]
    assert epsilon_by_order(*made, cube_grid(made.positions, spacing=0.4))[None] != pytest.approx(expected, rel=0.01)
