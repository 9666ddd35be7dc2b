"""Groups of structures that one split holds whole: copies of a geometry, one composition, one value of a label."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from tesseral.models.data.reference_file import Reference
from tesseral.study.configuration.quantities import LABEL
from tesseral.study.errors import StudyFileError

SAME = 1e-4
"""Structures are the same if their atoms are at the same places about their mean to this, Å."""


def geometry(atomic_numbers: Sequence[int], positions: Sequence[Sequence[float]], charge: int) -> Hashable:
    """What two copies of a structure have in common: charge, elements, and places about their mean.

    :param atomic_numbers: Z of each atom.
    :param positions: Å, shape (atoms, 3).
    :param charge: total charge, e.
    """
    places = np.array(positions)
    rounded = np.round((places - places.mean(axis=0)) / SAME).astype(np.int64)
    return charge, *atomic_numbers, rounded.tobytes()


def group_structures(reference: Reference, by: str | None) -> list[int]:
    """The number of each structure's group, in the order in which groups first appear.

    :param reference: all rows; the converged ones are grouped.
    :param by: `data.groups`; None: each structure is a group.
    :raises StudyFileError: if the reference data have no such label.
    """
    table = reference.converged.table
    if by is None:
        return list(range(len(table)))
    if by.startswith(LABEL):
        name = by.removeprefix(LABEL)
        if name not in reference.labels:
            known = ", ".join(LABEL + each for each in reference.labels) or "none: the reference data declare no label"
            raise StudyFileError(
                "data.groups", f"expected geometry, composition or a label of the data ({known}), got {by!r}"
            )
        return _numbered(map(repr, table[f"label.{name}"].to_pylist()))
    if by == "composition":
        return _numbered(tuple(sorted(numbers)) for numbers in table["atomic_numbers"].to_pylist())
    rows = table.select(["atomic_numbers", "positions", "charge"]).to_pylist()
    return _numbered(geometry(**row) for row in rows)


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]
