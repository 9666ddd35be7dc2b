"""What a file of reference data holds, in a tree and in a line: structures, method, and the fit's own error."""

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tesseral.cluster.data.references import open_parquet
from tesseral.models.data.reference_file import TARGETS
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError

FLOOR = {
    "fit_error": ("fit ε", "%"),
    "electron_error": ("electrons", "e"),
    "dipole_error": ("dipole", "e bohr"),
    "self_repulsion_error": ("self-repulsion", "%"),
}
"""Errors of the fitted density against the field's own: what no model of the coefficients can be better than."""


STATED = ("method", "basis", "auxiliary_basis")
"""Columns of text of which each value is told once."""


def summarise(location: str) -> dict[str, Any]:
    """What a file that a recipe made holds, of which only columns of one value a structure are read.

    `floor` has the mean and the largest size of each error of `FLOOR` over the converged structures; `seconds` is
    the time of all calculations together.

    :raises DataError: if it is missing, torn, or no Parquet file.
    """
    file = open_parquet(location)
    if file is None:
        raise DataError(f"expected reference data at {location}, found nothing there")
    with file:
        table = file.read(columns=["converged", "seconds", *STATED, *FLOOR])
        converged = table.filter(table["converged"])
        floor = {}
        for column in FLOOR:
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
    """The summary of `summarise` in a line."""
    method = f"{summary['method']}/{summary['basis']}" if summary["method"] else "method not stated"
    fitted = f", fitted in {summary['auxiliary_basis']}" if summary["auxiliary_basis"] else ""
    lost = summary["structures"] - summary["converged"]
    unconverged = f"; {lost} not converged and never trained on" if lost else ""
    floor = ", ".join(f"{FLOOR[key][0]} {size['mean']:.2g} {FLOOR[key][1]}" for key, size in summary["floor"].items())
    return (
        f"{summary['structures']} structures of {', '.join(summary['elements'])}, {method}{fitted}"
        f"{f', floor of the fit: {floor}' if floor else ''}{unconverged}: {summary['reference']}"
    )


def _stated(table: Any, column: str) -> str | None:
    """What the rows say, each value once."""
    return ", ".join(sorted(value for value in pc.unique(table[column]).to_pylist() if value)) or None


def _elements(file: pq.ParquetFile) -> list[int]:
    """Atomic numbers of the file's auxiliary basis."""
    return sorted(AuxiliaryBasis.from_json(file.schema_arrow.metadata[b"tesseral.auxiliary"].decode()).shells)


def _filled(file: pq.ParquetFile, column: str) -> bool:
    """Whether any row has a value, by the counts that the file keeps beside each column."""
    for index in range(file.num_row_groups):
        group = file.metadata.row_group(index)
        for leaf in map(group.column, range(group.num_columns)):
            if leaf.path_in_schema.split(".")[0] == column and leaf.num_values > leaf.statistics.null_count:
                return True
    return False
