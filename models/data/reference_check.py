"""The consistency of a table of reference data: lists have the lengths that atoms, basis and irreps demand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tesseral.models.networks.neighbors import whole_cell
from tesseral.study.configuration.configuration import SPLITS
from tesseral.study.configuration.quantities import COLUMNS, MOLECULAR
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError

REQUIRED = ("id", "atomic_numbers", "positions", "charge", "converged")
"""Columns that every row must fill; the others are null where a quantity was not computed."""
# Column → whether it has one list for each structure or each atom, and the numbers of that list.
_NUMBERS = {column: (label.per, label.width) for column, label in COLUMNS.items()}
_SCALARS = tuple(column for column, layout in _NUMBERS.items() if layout == ("structure", 1))
_WIDTHS = {column: layout for column, layout in _NUMBERS.items() if column not in _SCALARS}

NORM_TOLERANCE = 1e-3
"""Largest error of a function's norm in the overlap: single precision gives 1e-5."""
FARTHEST = 1e6
"""Largest coordinate, Å. In double precision the next number is 1e-10 Å away."""

_SLICE = 256  # rows whose numbers are looked at together, so that memory stays flat

Integers = NDArray[np.int64]


def check_table(
    table: pa.Table, sizes: Mapping[int, int] | None, labels: Mapping[str, tuple[str, int]], name: str
) -> None:
    """Reject the first row that contradicts the basis or itself, or holds numbers that are not finite.

    :param table: of schema `REFERENCE`, with a column `label.<name>` for each label.
    :param sizes: atomic number → coefficients on such an atom; None where there is no auxiliary basis.
    :param labels: column → ("structure" or "atom", numbers of one label).
    :param name: what error messages call the table.
    :raises DataError: naming the structure.
    """
    if not len(table):
        raise DataError(f"expected at least one structure, {name} holds no rows")
    for column in REQUIRED:
        if table[column].null_count:
            raise DataError(f"expected {column} in every row, {name} holds {table[column].null_count} without it")
    repeated = [item["values"] for item in table["id"].value_counts().to_pylist() if item["counts"] > 1]
    if repeated:
        raise DataError(f"expected an id of its own for each structure, {name} holds {repeated[0]!r} more than once")
    if "split" in table.column_names:
        strange = {*pc.unique(table["split"]).to_pylist()} - {None, *SPLITS}
        if strange:
            raise DataError(f"expected {', '.join(SPLITS)} or nothing in split, {name} holds {min(strange)!r}")
    columns = {column: table[column].combine_chunks() for column in table.column_names}
    atoms = _lengths(columns["atomic_numbers"])
    where = _Where(columns["id"], name)
    for row in np.flatnonzero((atoms < 1) | (_lengths(columns["positions"]) != atoms)):
        raise DataError(
            f"expected a position for each of {atoms[row]} atoms, "
            f"{where(row)} has {len(columns['positions'][row])} positions"
        )
    _check_atoms(columns, where)
    _check_coefficients(columns, sizes, atoms, where)
    for column, (per, width) in (_WIDTHS | dict(labels)).items():
        _check_width(columns[column], column, per, width, atoms, where)
    for column in ("positions", "cell", "coefficients", "overlap", *_SCALARS, *_WIDTHS, *labels):
        for start in range(0, len(table), _SLICE):
            _check_finite(columns[column].slice(start, _SLICE), start, column, where)
    _check_cells(columns, where)


class _Where:
    """Names a row in an error message."""

    def __init__(self, ids: pa.Array, name: str) -> None:
        self._ids, self._name = ids, name

    def __call__(self, row: int | np.integer[Any]) -> str:
        return f"structure {self._ids[int(row)].as_py()!r} in {self._name}"


def _lengths(lists: Any) -> Integers:
    """Length of each list, −1 where it is null."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), -1), dtype=np.int64)


def _rows(lists: Any) -> Integers:
    """Row of each entry of the flattened lists."""
    return np.repeat(np.arange(len(lists)), np.maximum(_lengths(lists), 0))


def _check_atoms(columns: Mapping[str, Any], where: _Where) -> None:
    """Require chemical elements, coordinates of a size that a molecule has, and no more charge than nuclei."""
    numbers = np.asarray(columns["atomic_numbers"].flatten().fill_null(0), dtype=np.int64)
    of_atom = _rows(columns["atomic_numbers"])
    for entry in np.flatnonzero((numbers < 1) | (numbers > len(SYMBOLS))):
        raise DataError(
            f"expected atomic numbers from 1 to {len(SYMBOLS)}, {where(of_atom[entry])} has {numbers[entry]}"
        )
    charges = np.asarray(columns["charge"], dtype=np.int64)
    nuclei = np.bincount(of_atom, weights=numbers, minlength=len(charges))
    for row in np.flatnonzero(np.abs(charges) > nuclei):
        raise DataError(
            f"expected a charge of at most the {nuclei[row]:.0f} of the nuclei, {where(row)} has {charges[row]}"
        )
    places = columns["positions"].flatten()
    largest = np.abs(places.flatten().to_numpy(zero_copy_only=False))
    for entry in np.flatnonzero(np.isfinite(largest) & (largest > FARTHEST)):
        row = _rows(columns["positions"])[_rows(places)[entry]]
        raise DataError(f"expected coordinates of at most {FARTHEST:.0e} Å, {where(row)} has {largest[entry]:.4g}")


def _check_coefficients(
    columns: Mapping[str, Any], sizes: Mapping[int, int] | None, atoms: Integers, where: _Where
) -> None:
    """Require the basis's number of coefficients in every converged structure, or none anywhere; check the overlap."""
    coefficients, overlap = columns["coefficients"], columns["overlap"]
    if sizes is None:
        for row in np.flatnonzero(_lengths(coefficients) >= 0):
            raise DataError(
                f"expected the auxiliary basis in the file's metadata, {where(row)} has coefficients and no basis"
            )
        return
    numbers = np.asarray(columns["atomic_numbers"].flatten(), dtype=np.int64)
    for entry in np.flatnonzero(~np.isin(numbers, list(sizes))):
        row = _rows(columns["atomic_numbers"])[entry]
        raise DataError(
            f"expected the elements {sorted(sizes)} of the auxiliary basis, {where(row)} holds [{numbers[entry]}]"
        )
    counts = _lengths(coefficients)  # entries per structure: one per atom, −1 where there are none
    converged = np.asarray(columns["converged"].to_numpy(zero_copy_only=False), dtype=bool)
    for row in np.flatnonzero(converged & (counts < 0)):
        raise DataError(f"expected coefficients in every row that converged, {where(row)} has none")
    expected = np.array([sizes[number] for number in numbers.tolist()])
    of_atom = np.repeat(np.arange(len(atoms)), atoms)
    per_atom = _lengths(coefficients.flatten())
    same = (counts < 0) | (counts == atoms)
    if same.all():
        filled = counts[of_atom] >= 0
        same[of_atom[filled][per_atom != expected[filled]]] = False
    for row in np.flatnonzero(~same):
        came = pc.list_value_length(coefficients[row].values).to_pylist()
        raise DataError(
            f"expected as many coefficients as the basis has for each of {atoms[row]} atoms "
            f"({expected[of_atom == row].tolist()}), {where(row)} has coefficients {came}"
        )
    totals = np.bincount(of_atom, weights=expected, minlength=len(atoms)).astype(np.int64)
    packed = _lengths(overlap)
    for row in np.flatnonzero((packed >= 0) & (packed != totals * (totals + 1) // 2)):
        total = totals[row]
        raise DataError(
            f"expected {total * (total + 1) // 2} elements in the lower triangle of the overlap of {total} "
            f"functions, {where(row)} has {packed[row]}"
        )
    for row in np.flatnonzero(packed >= 0):
        values = overlap[row].values.to_numpy(zero_copy_only=False)
        diagonal = values[np.cumsum(np.arange(1, totals[row] + 1)) - 1]
        for wrong in diagonal[np.abs(diagonal - 1) > NORM_TOLERANCE]:
            raise DataError(
                f"expected an overlap of functions of unit norm, whose diagonal is 1, {where(row)} has {wrong:.4g} "
                "there"
            )


def _check_width(values: Any, column: str, per: str, width: int, atoms: Integers, where: _Where) -> None:
    """Require a list of `width` numbers in each row, or one such list for each atom; null is allowed."""
    lengths = _lengths(values)
    if per == "structure":
        for row in np.flatnonzero((lengths >= 0) & (lengths != width)):
            raise DataError(f"expected {width} numbers in {column}, {where(row)} has {lengths[row]}")
        return
    for row in np.flatnonzero((lengths >= 0) & (lengths != atoms)):
        raise DataError(
            f"expected an entry of {column} for each of {atoms[row]} atoms, {where(row)} has {lengths[row]}"
        )
    inner = values.flatten()
    if pa.types.is_list(inner.type):
        for entry in np.flatnonzero(_lengths(inner) != width):
            raise DataError(
                f"expected {width} numbers for each atom in {column}, {where(_rows(values)[entry])} has "
                f"{_lengths(inner)[entry]}"
            )


def _check_cells(columns: Mapping[str, Any], where: _Where) -> None:
    """Require cells that lattice vectors span, and of periodic structures nothing that molecules alone have."""
    cells, stresses = columns["cell"], columns["stress"]
    for row in np.flatnonzero(np.asarray(cells.is_valid())):
        cell = np.array(cells[int(row)].as_py(), dtype=float)
        try:
            whole_cell(cell)
        except DataError as error:
            raise DataError(f"{error}, in {where(row)}") from None
        for column in MOLECULAR:
            if columns[column][int(row)].is_valid:
                raise DataError(
                    f"expected no {column} of a periodic structure, which has no meaning there, {where(row)} has one"
                )
    for row in np.flatnonzero(np.asarray(stresses.is_valid())):
        repeats = cells[int(row)].is_valid and np.array(cells[int(row)].as_py()).any(axis=1).all()
        if not repeats:
            raise DataError(
                f"expected a stress only where a structure repeats along three axes, {where(row)} has one and does not"
            )


def _check_finite(values: Any, start: int, column: str, where: _Where) -> None:
    """Require finite numbers and no null inside a list, in the rows from number `start` on."""
    leaves, rows = values, start + np.arange(len(values))
    if not pa.types.is_nested(values.type):
        leaves, rows = values.drop_null(), rows[np.asarray(values.is_valid())]
    while pa.types.is_nested(leaves.type):
        rows, leaves = rows[_rows(leaves)], leaves.flatten()
        if pa.types.is_nested(leaves.type) and leaves.null_count:
            entry = int(np.flatnonzero(_lengths(leaves) < 0)[0])
            raise DataError(f"expected numbers for each atom, {where(rows[entry])} has none for one in {column}")
    finite = np.isfinite(leaves.to_numpy(zero_copy_only=False))  # a null in a list is NaN
    for wrong in np.flatnonzero(~finite):
        raise DataError(f"expected finite numbers, {where(rows[wrong])} holds others in {column}")
