"""Checks that imported structures are those of nature: electrons, distances of the atoms, and copies among them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tesseral.models.data.groups import GEOMETRY, same_geometry
from tesseral.models.data.reference_file import rows_of
from tesseral.models.networks.neighbors import periodic_neighbors
from tesseral.study.constants import BOHR
from tesseral.study.wording import count

Array = NDArray[np.float64]

STRETCHED = 1.4
"""The unit of positions is doubted if the median atom is further than this from its neighbour, in sums of covalent
radii. Molecules have 1.0; molecules in bohr, taken for Å, 1.9."""
SQUEEZED = 0.7
"""The same for atoms that are too near; molecules in Å, taken for bohr, have 0.5."""


def doubts(table: pa.Table, *, charge_stated: bool) -> Iterator[str]:
    """A sentence on each thing that may be wrong with the structures.

    :param table: of schema `tesseral.study.records.schemas.REFERENCE`.
    :param charge_stated: whether the mapping says what their charges are.
    """
    yield from _electrons(table, charge_stated)
    yield from _distances(table)
    yield from _copies(table)


def _electrons(table: pa.Table, charge_stated: bool) -> Iterator[str]:
    """An odd number of electrons without a stated spin: more often a charge that was not stated than a radical."""
    odd = []
    for row in rows_of(table, "id", "atomic_numbers", "charge", "spin", "cell"):
        electrons = sum(row["atomic_numbers"]) - row["charge"]
        # Crystals of radicals and metals are common.
        if row["cell"] is None and row["spin"] is None and electrons % 2:
            odd.append(f"{row['id']}: {electrons} at charge {row['charge']}")
    if odd:
        way_out = (
            "if the charges are right, they are radicals: state source.spin"
            if charge_stated
            else "if they are ions, state source.charge, if they are radicals, source.spin"
        )
        yield (
            f"{count(len(odd), 'structure')} of {len(table):,} {'has' if len(odd) == 1 else 'have'} an odd number of "
            f"electrons ({odd[0]}); {way_out}"
        )


def _distances(table: pa.Table) -> Iterator[str]:
    """Neighbours at distances that no molecule has: positions in another unit than Å."""
    ratios: list[Array] = []
    for row in rows_of(table, "atomic_numbers", "positions", "cell"):
        positions, radii = np.array(row["positions"]), covalent_radii[row["atomic_numbers"]]
        if row["cell"] is not None:
            ratios.append(_nearest(positions, np.array(row["cell"]), radii))
        elif len(positions) > 1:
            distances, nearest = cKDTree(positions).query(positions, k=2)
            ratios.append(distances[:, 1] / (radii + radii[nearest[:, 1]]))
    measured = np.concatenate(ratios) if ratios else np.empty(0)
    if not measured.size:  # also of periodic structures, whose atoms may be far from each other and from their images
        return
    median = float(np.median(measured))
    if not SQUEEZED < median < STRETCHED:
        unit, guess = ("bohr", median * BOHR) if median > 1 else ("angstrom", median / BOHR)
        then = f'; with unit = "{unit}" of [source] it is {guess:.2f}' if SQUEEZED < guess < STRETCHED else ""
        yield f"atoms are {median:.2f} bond lengths from their neighbours, as in no molecule{then}"


def _nearest(positions: Array, cell: Array, radii: Array) -> Array:
    """Distance of each atom of a periodic structure to its nearest neighbour, in sums of covalent radii.

    Atoms further than 6 Å from all others and from all images are left out.
    """
    found = periodic_neighbors(positions, cell, 6.0)
    vectors = positions[found.source] - positions[found.destination] + found.shift
    distances = np.linalg.norm(vectors, axis=1)
    nearest = np.lexsort((distances, found.destination))
    _, first = np.unique(found.destination[nearest], return_index=True)
    chosen = nearest[first]
    return distances[chosen] / (radii[found.destination[chosen]] + radii[found.source[chosen]])


def _copies(table: pa.Table) -> Iterator[str]:
    """Structures with the same geometry, which can be in the training and the test split."""
    first: dict[int, str] = {}
    copies = []
    geometries = same_geometry(rows_of(table, *GEOMETRY))
    for name, geometry in zip(table["id"].to_pylist(), geometries, strict=True):
        if geometry in first:
            copies.append((first[geometry], name))
        first.setdefault(geometry, name)
    if copies:
        one, other = copies[0]
        yield (
            f"{count(len(copies), 'structure')} of {len(table):,} {'has' if len(copies) == 1 else 'have'} the same "
            f"geometry as an earlier one ({other} as {one}): a test split may hold what the training split "
            'holds, unless the study keeps copies together: data.groups = "geometry"'
        )
