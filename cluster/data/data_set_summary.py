"""A summary of reference data, as JSON and in words: structures, method, quantities, errors of the density fit."""

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tesseral.models.data.reference_file import MAKE, TARGETS
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError
from tesseral.study.records.parquet import open_parquet
from tesseral.study.records.schemas import FIT_ERRORS
from tesseral.study.wording import count

STATED = ("method", "basis", "auxiliary_basis")
"""Text columns of which the summary lists the distinct values."""


def summarise(location: str) -> dict[str, Any]:
    """Summarise a file that a recipe made. Only columns with one value per structure are read.

    :param location: absolute path or URL.
    :returns: JSON with, among others, `floor`, the mean and largest size of each of `FIT_ERRORS` over the
        converged structures, and `seconds`, the time of all calculations together.
    :raises DataError: if the file is missing, torn, or not Parquet.
    """
    file = open_parquet(location)
    if file is None:
        raise DataError(f"expected reference data at {location}, found no file there; {MAKE}")
    with file:
        table = file.read(columns=["converged", "seconds", *STATED, *FIT_ERRORS])
        converged = table.filter(table["converged"])
        floor = {}
        for column in FIT_ERRORS:
            sizes = pc.abs(converged[column])
            if sizes.null_count < len(sizes):
                floor[column] = {"mean": pc.mean(sizes).as_py(), "max": pc.max(sizes).as_py()}
        return {
            "reference": location,
            "structures": len(table),
            "converged": len(converged),
            "elements": [SYMBOLS[number - 1] for number in _elements(file)],
            **{column: _stated(table, column) for column in STATED},
            "quantities": [column for column in TARGETS if _filled(file, column)],
            "floor": floor,
            "seconds": pc.sum(table["seconds"]).as_py(),
        }


def describe(summary: dict[str, Any]) -> str:
    """A summary from `summarise` in words: a line on the structures, one on the density fit if there is one, the file.

    :param summary: the result of `summarise`.
    :returns: two or three lines.
    """
    method = f"{summary['method']}/{summary['basis']}" if summary["method"] else "method not stated"
    fitted = f", density fitted in {summary['auxiliary_basis']}" if summary["auxiliary_basis"] else ""
    lost = summary["structures"] - summary["converged"]
    unconverged = f"; {lost} not converged and never trained on" if lost else ""
    floor = ", ".join(
        f"{error.name.removeprefix('fit ')} {summary['floor'][column]['mean']:.2g} {error.unit}"
        for column, error in FIT_ERRORS.items()
        if column in summary["floor"]
    )
    structures = f"{count(summary['structures'], 'structure')} of {', '.join(summary['elements'])}"
    lines = [f"{structures}; {method}{fitted}{unconverged}"]
    if floor:
        lines.append(f"Fit floor, the mean error of the fitted density against the SCF density: {floor}")
    return "\n".join([*lines, f"File: {summary['reference']}"])


def _stated(table: Any, column: str) -> str | None:
    """Distinct values of a text column, sorted; None if all are null."""
    return ", ".join(sorted(value for value in pc.unique(table[column]).to_pylist() if value)) or None


def _elements(file: pq.ParquetFile) -> list[int]:
    """Atomic numbers in the file's auxiliary basis, ascending."""
    metadata = file.schema_arrow.metadata or {}
    return sorted(AuxiliaryBasis.from_json(metadata.get(b"tesseral.auxiliary", b"").decode(errors="replace")).shells)


def _filled(file: pq.ParquetFile, column: str) -> bool:
    """Whether any row has a value, by the statistics in the file's footer: the column itself is not read."""
    for index in range(file.num_row_groups):
        group = file.metadata.row_group(index)
        for leaf in map(group.column, range(group.num_columns)):
            if leaf.path_in_schema.split(".")[0] == column and leaf.num_values > leaf.statistics.null_count:
                return True
    return False
