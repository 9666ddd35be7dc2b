"""A check that vectors and atoms share their axes: charges fitted to dipoles explain them, and rotated dipoles less
well.

Some data sets rotate molecules to a standard orientation and leave the vectors; nothing else in a file shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tesseral.study.constants import BOHR

Array = NDArray[np.float64]

LEAST = 0.3
"""The axes are doubted below this R²: dipoles of small organic molecules reach 0.59, rotated ones at most 0.16."""
CLEARLY = 0.02
"""The axes are doubted if R² grows by this in other axes; in similarly oriented molecules, rotated dipoles fit as
well."""
_FEWEST = 10  # molecules per element; a fit to fewer says nothing
_AXES = "xyz"


@dataclass(frozen=True)
class FrameCheck:
    """How well one fitted charge per element explains the dipoles."""

    charges: dict[str, float]
    """Element → fitted charge, e, up to a common constant."""
    r_squared: float
    """1 − Σ|μ − fit|² / Σ|μ|²."""
    turned: float
    """Largest R² with all dipoles rotated by one of the 23 other rotations that permute the axes."""
    axes: str
    """Axes of that rotation, such as `(y, z, x)`."""

    @property
    def doubt(self) -> str | None:
        """A sentence on what may be wrong; None if nothing is."""
        if self.turned > self.r_squared + CLEARLY:
            return (
                f"the vectors fit the atoms better as {self.axes} (R² {self.turned:.2f}) than as (x, y, z) "
                f"(R² {self.r_squared:.2f}): their axes may not be the atoms'"
            )
        if self.r_squared < LEAST:
            return (
                f"charges explain the vectors only to R² {self.r_squared:.2f}, less than {LEAST}: their axes may not "
                "be the atoms', or they are not dipoles of such molecules"
            )
        return None

    def __str__(self) -> str:
        charges = ", ".join(f"{symbol} {charge:+.3f}" for symbol, charge in self.charges.items())
        return (
            f"R² {self.r_squared:.2f} by charges of the elements ({charges}), at most {self.turned:.2f} in other axes"
        )


def check_frame(
    atomic_numbers: Sequence[Sequence[int]], positions: Sequence[Array], charges: Sequence[int], dipoles: Array
) -> FrameCheck | None:
    """Fit μ ≈ Σ_i q_{Z_i} (r_i − R) to the dipoles of neutral molecules, R the mean of the positions.

    About the mean, a constant added to every q changes nothing, so no constraint on the total charge is needed. Charged
    molecules are left out, since their dipoles depend on the origin.

    :param atomic_numbers: for each structure.
    :param positions: for each structure, Å, shape (atoms, 3).
    :param charges: total charge of each structure, e.
    :param dipoles: e bohr, shape (structures, 3).
    :returns: None if there are fewer than ten neutral molecules with a dipole for each element.
    """
    neutral = [index for index, charge in enumerate(charges) if charge == 0 and dipoles[index].any()]
    elements = sorted({number for index in neutral for number in atomic_numbers[index]})
    if len(neutral) < _FEWEST * max(1, len(elements)):
        return None
    vectors = dipoles[neutral]
    arms = np.zeros((len(neutral), 3, len(elements)))
    for row, index in enumerate(neutral):
        centred = (positions[index] - positions[index].mean(axis=0)) / BOHR
        for column, element in enumerate(elements):
            arms[row, :, column] = centred[np.array(atomic_numbers[index]) == element].sum(axis=0)
    # A linear fit is a projection, so R² in other axes needs no further fit.
    basis, values, _ = np.linalg.svd(arms.reshape(-1, len(elements)), full_matrices=False)
    basis = basis[:, values > 1e-9 * values[0]]
    total = float((vectors**2).sum())

    def r_squared(turned: Array) -> float:
        return float(((turned.ravel() @ basis) ** 2).sum()) / total

    fitted = np.linalg.lstsq(arms.reshape(-1, len(elements)), vectors.ravel(), rcond=None)[0]
    others = [(r_squared(vectors @ rotation.T), name) for name, rotation in _rotations() if name != "(x, y, z)"]
    turned, axes = max(others)
    named = {chemical_symbols[element]: float(charge) for element, charge in zip(elements, fitted, strict=True)}
    return FrameCheck(named, r_squared(vectors), turned, axes)


def _rotations() -> list[tuple[str, Array]]:
    """The 24 proper rotations that permute the axes, each with the new order of the axes: (y, z, x), (x, -z, y), …"""
    rotations = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                names = [f"{'-' if sign < 0 else ''}{_AXES[axis]}" for axis, sign in zip(order, signs, strict=True)]
                rotations.append((f"({', '.join(names)})", matrix))
    return rotations
