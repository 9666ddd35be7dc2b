"""Densities as Gaussian cube files, the format that most programs for drawing molecules read."""

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
"""Grids of more points are rejected as a mistake: the file would exceed a gigabyte."""

Array = NDArray[np.float64]

_DIGITS = 6  # decimals of lengths in a cube file; the grid itself is rounded to them, so that file and values agree


class Box(NamedTuple):
    """A uniform grid along x, y and z that encloses the atoms."""

    origin: Array
    """First point, bohr, shape (3,)."""
    counts: tuple[int, int, int]
    """Number of points along x, y and z."""
    step: float
    """Distance of neighbouring points, bohr."""


@dataclass(frozen=True)
class Cube:
    """Summary of a cube file that was written."""

    points: tuple[int, int, int]
    """Number of points along x, y and z."""
    electrons: float
    """Sum of the values times the volume per point. A coarse grid misses much of the cores, little of the bonds."""


def box_around(positions: Array, spacing: float, margin: float) -> Box:
    """A grid centred on the atoms that extends at least `margin` beyond each.

    :param positions: Å, shape (atoms, 3).
    :param spacing: distance of neighbouring points, Å.
    :param margin: least distance from an atom to the edge, Å.
    :raises DataError: if spacing or margin is out of range, or the grid has more than `MOST_POINTS` points.
    """
    if not (spacing > 0 and margin >= 0):
        raise DataError(f"expected a spacing above 0 Å and a margin of 0 Å or more, got {spacing} and {margin}")
    step = round(spacing / BOHR, _DIGITS)
    low, high = (
        (edge + shift) / BOHR for edge, shift in ((positions.min(axis=0), -margin), (positions.max(axis=0), margin))
    )
    steps = np.ceil((high - low) / step - 1e-9)  # 1e-9: a length of whole steps gets no further point
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
    """Write ρ on a uniform grid as a Gaussian cube file: electron/bohr³, lengths in bohr, z the fastest index.

    The grid is evaluated one plane of constant x at a time, so memory stays flat.

    :param path: of the new file; one that exists is replaced.
    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param spacing: distance of neighbouring points along x, y and z, Å.
    :param margin: least distance from an atom to the edge, Å.
    :param title: first line of the file; what follows a line break is left out.
    :returns: number of points, and the electrons that their values add up to.
    :raises DataError: if spacing or margin is out of range, the grid has more than `MOST_POINTS` points, or the file
        cannot be written.
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
    """Header of a cube file: two lines of text, number of atoms and origin, three axes, the atoms."""

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
    """Write each plane, six values per line and a new line for each row of z; yield the sum of its values."""
    for index in range(box.counts[0]):
        values = plane(index)
        for row in values:
            for start in range(0, len(row), 6):
                file.write("".join(f"{value:13.5E}" for value in row[start : start + 6]) + "\n")
        yield float(values.sum())
