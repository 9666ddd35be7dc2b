"""Molecules displaced from their minimum along normal modes, as by harmonic vibrations at a temperature."""

import numpy as np
from numpy.typing import NDArray

from tesseral.models.reference.calculation.normal_modes import Vibrations, covalent_radii, vibrations
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import seed
from tesseral.study.constants import BOHR, BOLTZMANN
from tesseral.study.errors import DataError
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.structures import Displacements

Array = NDArray[np.float64]

CONTACT = 1.3
"""Two atoms are bonded within this times the sum of their covalent radii."""
SQUEEZED = 0.75
"""Smallest distance of two atoms relative to that at the minimum; for distant atoms, the bonding distance is enough."""
STRETCHED = 1.4
"""Largest length of a bond relative to that at the minimum: beyond, it is broken and not harmonic."""
DECIMALS = 6
"""Decimals of a coordinate, Å: further ones of the minimum would differ between machines."""
_ATTEMPTS = 1000  # so many rejected displacements in a row mean that nearly all are


def displaced(molecule: Structure, table: Displacements, index: int) -> Array:
    """Positions of displacement `index` of a molecule.

    - `thermal`: Δ = M^(-1/2) Σ_k σ_k v_k (v_k · z), z standard normal: all normal modes v_k at once, in the
      distribution of quantum harmonic oscillators.
    - `normal_modes`: Δ = M^(-1/2) q σ_k v_k, the one mode k = index mod modes, q uniform in ±`amplitude`.

    A displacement that brings atoms too close or breaks a bond (`SQUEEZED`, `STRETCHED`) is drawn again. Positions
    depend only on the molecule, the table's seed and name, and the index.

    :param molecule: as the recipe gives it.
    :param table: kind of displacement, temperature or amplitude, seed.
    :param index: from 0.
    :returns: Å, shape (atoms, 3).
    :raises DataError: as `tesseral.models.reference.calculation.normal_modes.vibrations`; if `_ATTEMPTS` displacements
        in a row are rejected.
    """
    normal_modes = vibrations(molecule, vibrating(table), table.optimise)
    minimum, modes = normal_modes.positions, normal_modes.modes
    sigma = deviations(normal_modes, table.temperature)
    random = np.random.default_rng(seed(table.seed, table.name, index))
    nearest, farthest = _limits(molecule.atomic_numbers, minimum)
    for _ in range(_ATTEMPTS):
        if table.mode == "thermal":
            # z is drawn in Cartesian coordinates and projected, so that the arbitrary sign of a mode does not matter.
            along = sigma * (modes @ random.normal(size=modes.shape[1]))
        else:
            mode = index % len(sigma)
            along = np.zeros(len(sigma))
            along[mode] = sigma[mode] * random.uniform(-table.amplitude, table.amplitude)
        shift = (along @ modes).reshape(-1, 3) / np.sqrt(normal_modes.masses)[:, None] * BOHR
        positions: Array = np.round(minimum + shift, DECIMALS) + 0.0  # + 0.0 turns −0 into 0
        distances = _distances(positions)
        if (distances >= nearest).all() and (distances <= farthest).all():
            return positions
    raise DataError(
        f"expected a displacement of {table.name} without a broken bond or atoms too close, {_ATTEMPTS} in a row had "
        "one; lower " + ("the temperature" if table.mode == "thermal" else "the amplitude")
    )


def vibrating(table: Displacements) -> Method:
    """Method of a table's minimum and vibrations, which is not that of the recipe's calculations.

    :param table: which states its own method and basis.
    """
    return Method(method=table.method, basis=table.basis)


def deviations(normal_modes: Vibrations, temperature: float) -> Array:
    """Standard deviation of each mode's mass-weighted coordinate, σ_k² = coth(ω_k/2kT) / 2ω_k, atomic units.

    It tends to 1/2ω at 0 K, the zero-point motion, and to kT/ω², the classical value, at high temperature.

    :param normal_modes: of which the frequencies count.
    :param temperature: kelvin.
    :returns: shape (modes,).
    """
    warmth = 2 * BOLTZMANN * temperature
    mixed = np.tanh(normal_modes.frequencies / warmth) if warmth else 1.0
    sigma: Array = np.sqrt(1 / (2 * normal_modes.frequencies * mixed))
    return sigma


def _limits(atomic_numbers: tuple[int, ...], positions: Array) -> tuple[Array, Array]:
    """Smallest and largest allowed distance of each pair of atoms, Å, shape (atoms, atoms); no limit on the
    diagonal."""
    covalent = covalent_radii(atomic_numbers)
    distances, bond = _distances(positions), CONTACT * (covalent[:, None] + covalent)
    return np.minimum(SQUEEZED * distances, bond), np.where(distances <= bond, STRETCHED * distances, np.inf)


def _distances(positions: Array) -> Array:
    """Distance of each pair of atoms, infinite on the diagonal."""
    distances: Array = np.linalg.norm(positions[:, None] - positions, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return distances
