"""Random clusters of water molecules, each determined by a seed."""

import numpy as np
from numpy.typing import NDArray

from tesseral.study.errors import DataError

Array = NDArray[np.float64]

OH_BOND = (0.96, 0.02, 0.90, 1.06)
"""Mean, standard deviation, smallest and largest O–H bond, Å; equilibrium is 0.957 Å."""
HOH_ANGLE = (104.5, 4.0, 94.0, 116.0)
"""Mean, standard deviation, smallest and largest H–O–H angle, degrees."""
CLOSEST = {(8, 8): 2.5, (1, 8): 1.6, (1, 1): 1.7}
"""Smallest distance between atoms of two molecules by their elements, Å: slightly below the shortest contacts in liquid
water, so that repulsion is sampled and molecules stay intact."""
HYDROGEN_BOND = (2.6, 3.2)
"""Range of the O–O distance in a hydrogen bond, Å."""
ANY_DISTANCE = (2.5, 5.0)
"""Range of the O–O distance of a molecule placed at random, Å."""
_TILT = 0.25  # standard deviation of each component of a hydrogen bond's tilt from the O–O line: about 20° in all
_ATTEMPTS = 10_000  # a placement succeeds within tens of attempts, unless the cluster is full
WATER = (8, 1, 1)
"""Atomic numbers of a molecule in the order of its positions: O, H, H."""


def water_cluster(n_molecules: int, index: int, seed: int) -> Array:
    """Cluster `index` of n molecules with random internal geometries, distances and orientations.

    Each molecule after the first is placed beside a random earlier one. Half of the placements are hydrogen bonds
    (either molecule the donor, O–O distance in `HYDROGEN_BOND`), half have any orientation and an O–O distance in
    `ANY_DISTANCE`. A placement that brings atoms closer than `CLOSEST` is drawn again. The cluster depends only on
    (seed, n_molecules, index), so that a larger count keeps the first clusters.

    :param seed: of the random numbers.
    :returns: positions of O, H, H of each molecule with the centroid at the origin, Å, shape (3 · n_molecules, 3).
    :raises DataError: if there is no room for a molecule.
    """
    return _grow(n_molecules, np.random.default_rng([seed, n_molecules, index]))


def _grow(n_molecules: int, random: np.random.Generator) -> Array:
    molecules = [_water(random)]
    for _ in range(_ATTEMPTS):
        if len(molecules) == n_molecules:
            positions: Array = np.concatenate(molecules)
            positions -= positions.mean(axis=0)
            return positions
        host = molecules[random.integers(len(molecules))]
        candidate = _neighbour(host, random)
        if all(_apart(candidate, molecule) for molecule in molecules):
            molecules.append(candidate)
    raise DataError(f"expected to place {n_molecules} molecules, {len(molecules)} found room; ask for fewer")


def _water(random: np.random.Generator) -> Array:
    """O, H, H of one molecule, shape (3, 3): O at the origin, a random orientation, Å."""
    mean, deviation, low, high = OH_BOND
    first, second = np.clip(random.normal(mean, deviation, 2), low, high)
    mean, deviation, low, high = HOH_ANGLE
    angle = np.radians(np.clip(random.normal(mean, deviation), low, high))
    flat = np.array([[0, 0, 0], [first, 0, 0], [second * np.cos(angle), second * np.sin(angle), 0]])
    molecule: Array = flat @ _rotation(random).T
    return molecule


def _neighbour(host: Array, random: np.random.Generator) -> Array:
    """A molecule beside `host`, shape (3, 3), Å."""
    guest = _water(random)
    if random.random() < 0.5:
        shift = random.uniform(*ANY_DISTANCE) * _rotation(random)[0]
    else:
        distance = random.uniform(*HYDROGEN_BOND)
        if random.random() < 0.5:  # the host donates: the guest's oxygen lies along one of its O–H bonds
            shift = distance * _tilted(host[random.integers(1, 3)] - host[0], random)
        else:  # the guest donates: the host's oxygen lies along one of the guest's bonds
            shift = -distance * _tilted(guest[random.integers(1, 3)], random)
    neighbour: Array = guest + host[0] + shift
    return neighbour


def _tilted(bond: Array, random: np.random.Generator) -> Array:
    """A unit vector near the direction of `bond`."""
    vector: Array = bond / np.linalg.norm(bond) + random.normal(0, _TILT, 3)
    vector /= np.linalg.norm(vector)
    return vector


def _rotation(random: np.random.Generator) -> Array:
    """A uniformly random rotation: the matrix of a normally distributed quaternion (w, x, y, z)."""
    w, x, y, z = (q := random.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _apart(molecule: Array, other: Array) -> bool:
    """Whether no two atoms of two molecules are closer than `CLOSEST`."""
    distances = np.linalg.norm(molecule[:, None] - other[None], axis=-1)
    limits = np.array([[CLOSEST[min(a, b), max(a, b)] for b in WATER] for a in WATER])
    return bool((distances >= limits).all())
