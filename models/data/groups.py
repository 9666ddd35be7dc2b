"""Groups of structures that one split holds whole: copies of a geometry, one composition, one value of a label."""

from collections.abc import Hashable, Iterable, Mapping
from math import inf
from typing import Any

import numpy as np
import scipy  # its modules are imported when they are used, which few data need
from numpy.typing import NDArray

from tesseral.models.data.reference_file import Reference, rows_of
from tesseral.study.configuration.quantities import LABEL
from tesseral.study.errors import StudyFileError

Array = NDArray[np.float64]

GEOMETRY = ("atomic_numbers", "positions", "charge", "cell")
"""The columns that say what a structure is."""
SAME = 1e-4
"""Structures are the same if their atoms are at the same places about their mean to this, Å."""


def same_geometry(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """The number of each structure's geometry: charge, elements in their order, places about their mean, and cell.

    Structures whose coordinates all agree to `SAME` have one number; those that differ by more than four times as much
    do not, unless others lie between them.

    :param rows: with `charge`, e; `atomic_numbers`, one Z an atom; `positions`, Å, shape (atoms, 3); `cell`, Å, shape
        (3, 3) or None.
    :returns: numbers in the order in which geometries first appear.
    """
    alike: dict[Hashable, list[int]] = {}
    places: list[Array] = []
    for index, row in enumerate(rows):
        positions = np.array(row["positions"], dtype=float).reshape(-1, 3)
        cell = np.zeros((3, 3)) if row.get("cell") is None else np.array(row["cell"], dtype=float)
        places.append(np.concatenate([positions - positions.mean(axis=0), cell]).ravel())
        alike.setdefault((row["charge"], *row["atomic_numbers"]), []).append(index)
    numbers: list[Hashable] = [None] * len(places)
    for key, members in alike.items():
        for index, number in zip(members, _near(np.array([places[index] for index in members])), strict=True):
            numbers[index] = (key, number)
    return _numbered(numbers)


def _near(points: Array) -> list[int]:
    """A number for each point, shape (points, coordinates), that points within `SAME` of each other share.

    Points of one cell are one first, so that many copies stay few; then cells are joined, because copies whose
    coordinates lie on the edge of a cell are rounded apart.
    """
    cells = np.round(points / SAME).astype(np.int64)
    _, first, cell_of = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    pairs = scipy.spatial.cKDTree(points[first]).query_pairs(3 * SAME, p=inf, output_type="ndarray")
    joined = scipy.sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(first), len(first)))
    _, groups = scipy.sparse.csgraph.connected_components(joined, directed=False)
    return [int(number) for number in groups[np.ravel(cell_of)]]


def group_structures(reference: Reference, by: str | None) -> list[int]:
    """The number of each structure's group, in the order in which groups first appear.

    :param reference: all rows; the converged ones are grouped.
    :param by: `data.groups`; None: each structure is a group.
    :raises StudyFileError: if the reference data have no such label.
    """
    table = reference.converged.table
    if by is None:
        return list(range(len(table)))
    if by == "geometry":
        return same_geometry(rows_of(table, *GEOMETRY))
    if by == "composition":
        return _numbered(tuple(sorted(numbers)) for numbers in table["atomic_numbers"].to_pylist())
    if by.removeprefix(LABEL) in reference.labels and by.startswith(LABEL):
        return _numbered(map(repr, table[f"label.{by.removeprefix(LABEL)}"].to_pylist()))
    known = ", ".join(LABEL + name for name in reference.labels) or "none: the reference data declare no label"
    raise StudyFileError("data.groups", f"expected geometry, composition or a label of the data ({known}), got {by!r}")


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]
