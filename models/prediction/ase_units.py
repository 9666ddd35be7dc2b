"""Predictions in ASE's units and shapes: eV, eV/Å, e Å, eV/Å³; a polarizability or a stress as a matrix."""

import numpy as np
from numpy.typing import NDArray

from tesseral.models.reference.conventions import from_irreps
from tesseral.study.configuration.quantities import COLUMNS, Quantity
from tesseral.study.constants import BOHR
from tesseral.study.parsing.units import HARTREE

Array = NDArray[np.float64]

ASE: dict[str, tuple[str, float]] = {
    "hartree": ("eV", HARTREE),
    "hartree/bohr": ("eV/Å", HARTREE / BOHR),
    "e bohr": ("e Å", BOHR),
    "hartree/bohr^3": ("eV/Å³", HARTREE / BOHR**3),
}
"""Unit of reference data → ASE's unit, and the former's size in the latter. All other units stay."""
MATRICES = ("polarizability", "stress")
"""Columns of irreps 0e+2e that are written as a symmetric 3×3 matrix."""


def ase_unit(column: str, quantity: Quantity) -> tuple[str, float]:
    """The unit that values of a column have in a file of ASE, and the size of the column's unit in it.

    :param column: of reference data.
    :param quantity: that the model predicts; it states the unit of a column that is no standard one.
    """
    unit = COLUMNS[column].unit if column in COLUMNS else quantity.unit
    return ASE.get(unit, (unit, 1.0))


def to_ase(column: str, values: Array, quantity: Quantity) -> Array:
    """Values of a column in ASE's unit, and a polarizability or a stress as a matrix.

    :param column: of reference data.
    :param values: shape (components,) or (atoms, components), in the column's unit.
    :param quantity: as for `ase_unit`.
    :returns: the same shape, or (3, 3).
    """
    _, size = ase_unit(column, quantity)
    return size * (from_irreps(values, COLUMNS[column].irreps, 2) if column in MATRICES else values)
