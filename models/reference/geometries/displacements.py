"""A molecule displaced from its minimum along its normal modes, as its harmonic vibrations would at a temperature."""

import numpy as np
from numpy.typing import NDArray

from tesseral.models.reference.calculation.vibrations import Vibrations, covalent_radii, vibrations
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import seed
from tesseral.study.constants import BOHR, BOLTZMANN
from tesseral.study.errors import DataError
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.structures import Displacements

Array = NDArray[np.float64]

SQUEEZED = 0.75
"""No two atoms come closer than this share of their distance at the minimum, nor need they be farther apart than"""
CONTACT = 1.3
"""this times the sum of their covalent radii, within which they are bonded."""
STRETCHED = 1.4
"""No bond becomes longer than this times its length at the minimum: it would be broken, and harmonic no more."""
DECIMALS = 6
"""Of a coordinate, Å: below the last, the minimum would differ between machines."""
_ATTEMPTS = 1000


def displaced(molecule: Structure, table: Displacements, index: int) -> Array:
    """Positions of displacement `index`; they depend on the molecule, the table's seed and name, and it alone.

    `thermal`: Δ = M^(-1/2) Σ_k σ_k v_k (v_k · z) with z normal, all normal modes v_k at once: the harmonic
    oscillators' own distribution. `normal_modes`: Δ = M^(-1/2) q σ_k v_k of mode k = index mod modes alone, q even in
    ±`amplitude`. What brings two atoms too close or breaks a bond (`SQUEEZED`, `STRETCHED`) is drawn again.

    :return: shape (atoms, 3), Å.
    :raises DataError: as `tesseral.models.reference.calculation.vibrations.vibrations`, or if nearly all displacements
    are such.
    """
    found = vibrations(molecule, vibrating(table), table.optimise)
    sigma = deviations(found, table.temperature)
    random = np.random.default_rng(seed(table.seed, table.name, index))
    nearest, farthest = _limits(molecule.atomic_numbers, found.positions)
    for _ in range(_ATTEMPTS):
        if table.mode == "thermal":
            along = sigma * (found.modes @ random.normal(size=found.modes.shape[1]))
        else:
            mode = index % len(sigma)
            along = np.zeros(len(sigma))
            along[mode] = sigma[mode] * random.uniform(-table.amplitude, table.amplitude)
        shift = (along @ found.modes).reshape(-1, 3) / np.sqrt(found.masses)[:, None] * BOHR
        positions: Array = np.round(found.positions + shift, DECIMALS) + 0.0  # no −0
        distances = _distances(positions)
        if (distances >= nearest).all() and (distances <= farthest).all():
            return positions
    raise DataError(
        f"expected a displacement of {table.name} without a broken bond or atoms too close, {_ATTEMPTS} in a row had "
        "one; lower " + ("the temperature" if table.mode == "thermal" else "the amplitude")
    )


def vibrating(table: Displacements) -> Method:
    """The method of a table's minimum and vibrations."""
    return Method(method=table.method, basis=table.basis)


def deviations(found: Vibrations, temperature: float) -> Array:
    """σ_k of each mode's mass-weighted coordinate: σ² = coth(ω/2kT)/2ω, atomic units; 1/2ω at 0 K, kT/ω² when hot.

    :param temperature: kelvin.
    """
    warmth = 2 * BOLTZMANN * temperature
    mixed = np.tanh(found.frequencies / warmth) if warmth else 1.0
    sigma: Array = np.sqrt(1 / (2 * found.frequencies * mixed))
    return sigma


def _limits(atomic_numbers: tuple[int, ...], positions: Array) -> tuple[Array, Array]:
    """Smallest and largest distance allowed to each pair of atoms, Å; of an atom to itself all."""
    covalent = covalent_radii(atomic_numbers)
    distances, bond = _distances(positions), CONTACT * (covalent[:, None] + covalent)
    return np.minimum(SQUEEZED * distances, bond), np.where(distances <= bond, STRETCHED * distances, np.inf)


def _distances(positions: Array) -> Array:
    distances: Array = np.linalg.norm(positions[:, None] - positions, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return distances
