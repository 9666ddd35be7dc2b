"""Integrals by sums over a uniform lattice in a box, as the published ε has them, and a faster sum of equal value."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.density.quadrature import Grid
from tesseral.study.constants import BOHR


class Level(NamedTuple):
    """Cubes of step³ lattice points, each of which its middle stands for, near atoms."""

    step: int
    """Lattice points along the side of a cube."""
    start: float = inf
    end: float = inf
    """Distances from an atom, Å, between which this level fades into the next; infinite in the last. No fade may begin
    before the fade of the level before has ended."""


EVERY_POINT = (Level(1),)
"""The whole lattice."""
COARSE = (Level(1, 0.3, 0.7), Level(2, 1.0, 1.6), Level(4))
"""About one point in 20. The lattice does not resolve the cores, so where its points fall there is part of the
published value, and they are all kept. Of densities of HCONH2, CH3F, CH3Cl, H2S, SO2 and one to six waters, each in
four orientations with three kinds of error, ε came within 0.22 % of its value on the whole lattice, ε_l within 0.49 %.
Cubes of three points beyond the cores alone, about as many points, missed ε by up to 1.1 % and ε_l by 2.3 %."""
_GATHERED = 16  # chunks that are sorted together, so that each holds points that lie near each other


@dataclass(frozen=True)
class CubeGrid:
    """All points origin + (i, j, k) · spacing of a box, i < shape[0] and so on, each of the volume of a cell; or a
    coarsening of them.

    Σ_g f(r_g) V is shared out smoothly among levels: with s_A a function of the distance to atom A that falls from 1
    at a level's `start` to 0 at its `end`, the part of f within a level is 1 − Π_A (1 − s_A), less the levels before.
    The first level sums its part over every point; a further one sums its part, which is smooth, over the middles of
    cubes of points. Points are made as they are asked for, so that a large box takes no memory.
    """

    origin: Tensor
    """Å, shape (3,), double precision."""
    spacing: Tensor
    """Å, shape (3,), double precision."""
    shape: tuple[int, int, int]
    """Points along each axis."""
    centres: Tensor
    """Of the atoms, Å, shape (atoms, 3), double precision."""
    levels: tuple[Level, ...] = EVERY_POINT

    def chunks(self, size: int) -> Iterator[Grid]:
        """All points of weight above 0, in parts of at most `size` that lie near each other."""
        waiting: list[Grid] = []
        for part in self._parts(size):
            waiting.append(part)
            if sum(len(grid.points) for grid in waiting) >= _GATHERED * size:
                yield from _joined(waiting).chunks(size)
                waiting = []
        if waiting:
            yield from _joined(waiting).chunks(size)

    def _parts(self, size: int) -> Iterator[Grid]:
        """Boxes of the lattice, without the points of weight 0; of a level only those that hold any of it."""
        volume = float(self.spacing.prod()) / BOHR**3
        before = Level(0, 0.0, 0.0)
        for level in self.levels:
            side = max(1, int(size ** (1 / 3)))
            axes = [self._axis(axis, level.step) for axis in range(3)]
            runs = [list(zip(middles.split(side), counts.split(side), strict=True)) for middles, counts in axes]
            gaps = [
                torch.stack([_gap(middles, self.centres[:, axis]) for middles, _ in runs[axis]]) for axis in range(3)
            ]
            for x in range(len(runs[0])):
                squared = gaps[0][x] + gaps[1][:, None] + gaps[2]  # of each box to each atom
                for y, z in (squared.amin(dim=-1) < level.end**2).nonzero().tolist():
                    corner = (runs[0][x], runs[1][y], runs[2][z])
                    points = torch.cartesian_prod(*(middles for middles, _ in corner))
                    weights = volume * torch.cartesian_prod(*(counts for _, counts in corner)).prod(dim=1)
                    near = squared[y, z]
                    if before.end > 0:
                        weights = weights * _outside(points, self.centres[near < before.end**2], before)
                    if level.end < inf:
                        weights = weights * (1 - _outside(points, self.centres[near < level.end**2], level))
                    kept = weights > 0
                    if kept.any():
                        yield Grid(points[kept], weights[kept])
            before = level

    def _axis(self, axis: int, step: int) -> tuple[Tensor, Tensor]:
        """Middles, Å, and counts of runs of `step` points along an axis, and of what is left over at either end."""
        number = self.shape[axis]
        left = number % step
        every = (left // 2, *[step] * (number // step), left - left // 2)
        counts = self.origin.new_tensor([count for count in every if count])
        return self.origin[axis] + self.spacing[axis] * (counts.cumsum(0) - (counts + 1) / 2), counts


def cube_grid(
    positions: Tensor,
    spacing: float = 0.1,
    margin: float = 3.0,
    levels: tuple[Level, ...] = EVERY_POINT,
    same_counts: bool = False,
) -> CubeGrid:
    """The published grid: points `spacing` apart, from `margin` below the lowest coordinate along each axis, to within
    one spacing of `margin` above the highest.

    With `COARSE` ε, and ε_l of every l, is within 1 % of its value on the whole grid, at the same place of the lattice.

    :param positions: of the atoms, Å, shape (atoms, 3).
    :param spacing: Å.
    :param margin: Å.
    :param same_counts: as the authors' code has it: both ends of every axis are points, and the number of points along
        each axis is the mean of those that the spacing asks for. So it is 0.1 Å in the mean alone.
    """
    centres = positions.detach().double()
    low, high = centres.amin(dim=0) - margin, centres.amax(dim=0) + margin
    counts = ((high - low) / spacing + 1e-9).floor().long() + 1  # a length of whole steps is not to lose its last point
    steps = torch.full_like(low, spacing)
    if same_counts:
        counts = counts.sum().div(3, rounding_mode="floor").expand(3)
        steps = (high - low) / (counts - 1)
    x, y, z = counts.tolist()
    return CubeGrid(low, steps, (x, y, z), centres, levels)


def _outside(points: Tensor, centres: Tensor, level: Level) -> Tensor:
    """Π_A (1 − s_A), shape (points,), with 1 − s = t³ (10 − 15 t + 6 t²), t from 0 at `start` to 1 at `end`."""
    distances = (points[:, None] - centres).norm(dim=2)
    t = ((distances - level.start) / (level.end - level.start)).clamp(0, 1)
    return (t**3 * (10 - 15 * t + 6 * t**2)).prod(dim=1)


def _gap(coordinates: Tensor, centres: Tensor) -> Tensor:
    """The square of the distance of each centre from an interval, along one axis."""
    return torch.maximum(coordinates[0] - centres, centres - coordinates[-1]).clamp(min=0).square()


def _joined(parts: list[Grid]) -> Grid:
    return Grid(torch.cat([part.points for part in parts]), torch.cat([part.weights for part in parts]))
