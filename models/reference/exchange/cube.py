"""Densities as Gaussian cube files, which most programs that draw molecules read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.density import density_on_points
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError

MOST_POINTS = 10**8
"""More than this is taken for a slip: a file of more than a gigabyte."""

Array = NDArray[np.float64]

_DIGITS = 6  # after the point, of lengths in a cube file: the grid is rounded to them, so that the file says it exactly


class Box(NamedTuple):
    """A uniform grid along x, y and z that encloses the atoms."""

    origin: Array
    """bohr, shape (3,)."""
    counts: tuple[int, int, int]
    """Points along x, y and z."""
    step: float
    """Between points, bohr."""


@dataclass(frozen=True)
class Cube:
    """What was written."""

    points: tuple[int, int, int]
    """Along x, y and z."""
    electrons: float
    """Sum over the points times the volume of one. A coarse grid misses much of the cores, not of the bonds."""


def box_around(positions: Array, spacing: float, margin: float) -> Box:
    """The grid that ends at least `margin` from every atom, centred on them.

    :param positions: Å, shape (atoms, 3).
    :param spacing: Å.
    :param margin: Å.
    :raises DataError: if the numbers make no grid, or one of more than 1e8 points.
    """
    if not (spacing > 0 and margin >= 0):
        raise DataError(f"expected a spacing above 0 Å and a margin of 0 Å or more, got {spacing} and {margin}")
    step = round(spacing / BOHR, _DIGITS)
    low, high = (
        (edge + shift) / BOHR for edge, shift in ((positions.min(axis=0), -margin), (positions.max(axis=0), margin))
    )
    steps = np.ceil((high - low) / step - 1e-9)
    counts = [int(number) + 1 for number in steps]
    if np.prod(counts, dtype=float) > MOST_POINTS:
        raise DataError(
            f"expected a grid of at most {MOST_POINTS:.0e} points, a spacing of {spacing} Å with a margin of "
            f"{margin} Å makes {np.prod(counts, dtype=float):.1e}"
        )
    return Box(((low + high - steps * step) / 2).round(_DIGITS), (counts[0], counts[1], counts[2]), step)


def write_cube(
    path: str | Path,
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Array,
    coefficients: Sequence[Tensor],
    spacing: float = 0.1,
    margin: float = 3.0,
    title: str = "electron density",
) -> Cube:
    """ρ on a uniform grid, electron/bohr³, as a Gaussian cube file: lengths in bohr, z the fastest index.

    The grid is evaluated one plane of constant x at a time, so memory stays flat.

    :param positions: Å, shape (atoms, 3).
    :param coefficients: for each atom, as in `tesseral.models.density.density.density_on_points`.
    :param spacing: of the points, Å.
    :param margin: from the outermost atoms to the edge, Å, at least.
    :raises DataError: as `box_around`; if the file cannot be written.
    """
    box = box_around(positions, spacing, margin)
    places = torch.from_numpy(positions)
    x, y, z = (torch.from_numpy(box.origin[axis] + box.step * np.arange(box.counts[axis])) * BOHR for axis in range(3))

    def plane(index: int) -> Array:
        points = torch.stack(torch.meshgrid(x[index : index + 1], y, z, indexing="ij"), dim=-1)
        with torch.no_grad():
            density = density_on_points(basis, atomic_numbers, places, coefficients, points.reshape(-1, 3))
        values: Array = density.reshape(len(y), len(z)).numpy()
        return values

    try:
        with Path(path).open("w", encoding="ascii", errors="replace") as file:
            file.write(_header(box, atomic_numbers, positions, title))
            total = sum(_write_planes(file, box, plane))
    except OSError as error:
        raise DataError(f"expected to write a cube file, {path} cannot be written: {error.strerror}") from None
    return Cube(box.counts, total * box.step**3)


def _header(box: Box, atomic_numbers: Sequence[int], positions: Array, title: str) -> str:
    """Two lines of text, the atoms' number and the origin, three axes, the atoms."""

    def line(count: int, *values: float) -> str:
        return f"{count:5d}" + "".join(f"{value:12.6f}" for value in values) + "\n"

    text = f"{title.splitlines()[0]}\nelectron/bohr^3, lengths in bohr; z is the fastest index\n"
    text += line(len(atomic_numbers), *box.origin)
    for axis, count in enumerate(box.counts):
        text += line(count, *(box.step * np.eye(3)[axis]))
    for number, place in zip(atomic_numbers, positions / BOHR, strict=True):
        text += line(number, number, *place)
    return text


def _write_planes(file: TextIO, box: Box, plane: Callable[[int], Array]) -> Iterator[float]:
    """Write each plane, six values a line and each row of z on lines of its own; give its sum."""
    for index in range(box.counts[0]):
        values = plane(index)
        for row in values:
            for start in range(0, len(row), 6):
                file.write("".join(f"{value:13.5E}" for value in row[start : start + 6]) + "\n")
        yield float(values.sum())
