"""What a file of reference data holds, in a tree and in a line: structures, method, and the fit's own error."""

from typing import Any

import pyarrow.compute as pc

from tesseral.cluster.references import open_reference
from tesseral.study.structure_tables import SYMBOLS

FLOOR = {
    "fit_error": ("fit ε", "%"),
    "electron_error": ("electrons", "e"),
    "dipole_error": ("dipole", "e bohr"),
    "self_repulsion_error": ("self-repulsion", "%"),
}
"""Errors of the fitted density against the field's own: what no model of the coefficients can be better than."""


def contents(location: str) -> dict[str, Any]:
    """What the file holds.

    `floor` has the mean and the largest size of each error of `FLOOR` over the converged structures; `seconds` is
    the time of all calculations together.
    """
    data = open_reference("", location)
    table, converged = data.table, data.converged.table
    floor = {}
    for column in FLOOR:
        sizes = pc.abs(converged[column])
        if sizes.null_count < len(sizes):
            floor[column] = {"mean": pc.mean(sizes).as_py(), "max": pc.max(sizes).as_py()}
    return {
        "reference": location,
        "structures": len(table),
        "converged": len(converged),
        "elements": [SYMBOLS[number - 1] for number in data.elements],
        "method": _stated(table, "method"),
        "basis": _stated(table, "basis"),
        "auxiliary_basis": _stated(table, "auxiliary_basis"),
        "quantities": list(data.filled),
        "floor": floor,
        "seconds": pc.sum(table["seconds"]).as_py(),
        "content_hash": data.content_hash,
    }


def describe(tree: dict[str, Any]) -> str:
    """`contents` in a line."""
    method = f"{tree['method']}/{tree['basis']}" if tree["method"] else "method not stated"
    fitted = f", fitted in {tree['auxiliary_basis']}" if tree["auxiliary_basis"] else ""
    lost = tree["structures"] - tree["converged"]
    unconverged = f"; {lost} not converged and never trained on" if lost else ""
    floor = ", ".join(f"{FLOOR[key][0]} {size['mean']:.2g} {FLOOR[key][1]}" for key, size in tree["floor"].items())
    return (
        f"{tree['structures']} structures of {', '.join(tree['elements'])}, {method}{fitted}"
        f"{f', floor of the fit: {floor}' if floor else ''}{unconverged}: {tree['reference']}"
    )


def _stated(table: Any, column: str) -> str | None:
    """What the rows say, each value once."""
    return ", ".join(sorted(value for value in pc.unique(table[column]).to_pylist() if value)) or None
