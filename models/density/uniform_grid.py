"""A uniform grid in a box around a molecule, as the published ε is summed on, and a coarser one of equal value.

To compare with published values, use this grid; to measure a density, use `quadrature.py`, which resolves the cores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.density.quadrature import Grid
from tesseral.study.constants import BOHR


class Level(NamedTuple):
    """A resolution of the grid near the atoms: cubes of step³ lattice points, each replaced by its middle."""

    step: int
    """Lattice points along the side of a cube."""
    start: float = inf
    end: float = inf
    """This level fades into the next between these distances from an atom, Å; infinite for the last level. A fade
    begins no nearer than where the one before has ended."""


EVERY_POINT = (Level(1),)
"""The published grid: every lattice point, one level."""
COARSE = (Level(1, 0.3, 0.7), Level(2, 1.0, 1.6), Level(4))
"""About one point in 20. The lattice does not resolve the cores, so the published value depends on where its points
fall there; all points near nuclei are kept. For HCONH2, CH3F, CH3Cl, H2S, SO2 and one to six waters, each in four
orientations with three kinds of error, ε came within 0.22 % of its value on the whole lattice, ε_l within 0.49 %. Two
levels (cubes of three points outside the cores) with about as many points missed ε by up to 1.1 %, ε_l by 2.3 %."""
_GATHERED = 16  # chunks sorted together: enough that the points of each lie near one another


@dataclass(frozen=True)
class CubeGrid:
    """Points origin + (i, j, k) · spacing of a box, i < shape[0] and so on, each with the volume V of a cell; or a
    coarsening of them.

    The sum Σ_g f(r_g) V is partitioned smoothly among levels. With s_A a function of the distance to atom A that falls
    from 1 at a level's `start` to 0 at its `end`, a level weighs f by 1 − Π_A (1 − s_A), less the levels before. The
    first level sums every point. Further levels see only what is smooth, and sum over the middles of cubes of points.
    Points are generated in chunks, so memory does not grow with the box.
    """

    origin: Tensor
    """Å, shape (3,), double precision."""
    spacing: Tensor
    """Å, shape (3,), double precision."""
    shape: tuple[int, int, int]
    """Points along each axis."""
    centres: Tensor
    """Positions of the atoms, Å, shape (atoms, 3), double precision."""
    levels: tuple[Level, ...] = EVERY_POINT

    def chunks(self, size: int) -> Iterator[Grid]:
        """All points of weight above 0, in chunks of at most `size` points that lie near one another.

        :param size: most points of a chunk.
        """
        waiting: list[Grid] = []
        for part in self._parts(size):
            waiting.append(part)
            if sum(len(grid.points) for grid in waiting) >= _GATHERED * size:
                yield from _joined(waiting).chunks(size)
                waiting = []
        if waiting:
            yield from _joined(waiting).chunks(size)

    def _parts(self, size: int) -> Iterator[Grid]:
        """Boxes of the lattice with any weight in their level, without the points of weight 0."""
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
                squared = gaps[0][x] + gaps[1][:, None] + gaps[2]  # squared distance of each box to each atom
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
        """Runs of `step` points along an axis, and a shorter one at either end: their middles, Å, and their counts."""
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
    """The grid of Rackers & Rao (arXiv 2210.04766): along each axis, points `spacing` apart from `margin` below the
    lowest coordinate to within one spacing of `margin` above the highest.

    :param positions: positions of the atoms, Å, shape (atoms, 3).
    :param spacing: distance of neighbouring points, Å.
    :param margin: distance from the outermost atoms to the edge of the box, Å.
    :param levels: `EVERY_POINT`, or `COARSE`: ε changes by at most 0.22 %, every ε_l by at most 0.49 %, of itself.
    :param same_counts: as in the authors' code, take the same number of points along each axis, the mean of those that
        `spacing` asks for, with points at both ends. The spacing is then `spacing` on average only.
    """
    centres = positions.detach().double()
    low, high = centres.amin(dim=0) - margin, centres.amax(dim=0) + margin
    counts = ((high - low) / spacing + 1e-9).floor().long() + 1  # 1e-9: a length of whole steps keeps its last point
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
    """Square of the distance of each centre from an interval along one axis, Å²."""
    return torch.maximum(coordinates[0] - centres, centres - coordinates[-1]).clamp(min=0).square()


def _joined(parts: list[Grid]) -> Grid:
    return Grid(torch.cat([part.points for part in parts]), torch.cat([part.weights for part in parts]))
