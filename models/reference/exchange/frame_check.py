"""Whether vectors stand in the same axes as the atoms: fitted charges explain dipoles, and turned dipoles less so."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tesseral.study.constants import BOHR

Array = NDArray[np.float64]

LEAST = 0.3
"""R² below which the axes are doubted: dipoles of small organic molecules reach 0.59, turned ones 0.16 at most."""
CLEARLY = 0.02
"""By how much R² must grow in other axes to doubt those given: of molecules that lie alike, turned ones fit as well."""
_FEWEST = 10  # molecules; a fit to fewer says nothing
_AXES = "xyz"


@dataclass(frozen=True)
class FrameCheck:
    """How well one charge for each element, fitted, explains the dipoles."""

    charges: dict[str, float]
    """Element → fitted charge, e, up to a constant that they share."""
    r_squared: float
    """1 − Σ|μ − fit|² / Σ|μ|²."""
    turned: float
    """The largest that R² gets with all dipoles turned by one of the 23 other rotations that permute the axes."""
    axes: str
    """Of that rotation, such as `(y, z, x)`."""

    @property
    def doubt(self) -> str | None:
        """What is wrong, as a sentence; None if nothing is."""
        if self.turned > self.r_squared + CLEARLY:
            return (
                f"the vectors fit the atoms better as {self.axes} (R² {self.turned:.2f}) than as (x, y, z) "
                f"(R² {self.r_squared:.2f}): their axes may not be the atoms'"
            )
        if self.r_squared < LEAST:
            return (
                f"charges explain the vectors to R² {self.r_squared:.2f} alone, less than {LEAST}: their axes may not "
                "be the atoms', or they are no dipoles of such molecules"
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

    About the mean, a constant added to every q changes nothing: each molecule's charges add up to zero by themselves.
    Charged molecules are left out.

    :param positions: of each structure, shape (atoms, 3), Å.
    :param dipoles: shape (structures, 3), e bohr.
    :return: None if there are fewer than ten neutral molecules with a dipole for each element.
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
    # The fit is a projection, so that R² in other axes takes no further fit.
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
    """The 24 proper rotations that permute the axes, each with the axes' new order: (y, z, x), (x, -z, y), …"""
    found = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                names = [f"{'-' if sign < 0 else ''}{_AXES[axis]}" for axis, sign in zip(order, signs, strict=True)]
                found.append((f"({', '.join(names)})", matrix))
    return found
