"""How a file of structures is read, and its labels in the units of reference data, to compare predictions with."""

import json

import numpy as np
from numpy.typing import NDArray

from tesseral.models.data.reference_file import Reference
from tesseral.models.reference.exchange.extended_xyz import Frame
from tesseral.models.reference.exchange.label_values import label_values
from tesseral.study.configuration.quantities import Quantity
from tesseral.study.recipe.mapping import LabelSource, MappedReference, Mapping, Source

Array = NDArray[np.float64]

ASE_LABELS = (
    LabelSource(name="energy", column="energy", unit="eV"),
    LabelSource(name="forces", column="forces", unit="eV/angstrom"),
    LabelSource(name="stress", column="stress", unit="eV/angstrom^3"),
    LabelSource(name="dipole", column="dipole", unit="e angstrom", origin="nuclear_charge"),
)
"""Labels as ASE writes them."""
ASE = Mapping(reference=MappedReference(name="ase"), source=Source(file=""), labels=ASE_LABELS)
"""Files as ASE writes them, whatever their name."""


def recorded_mapping(reference: Reference) -> Mapping:
    """The mapping by which reference data were imported; `ASE` where none is recorded.

    :param reference: a trial's data.
    """
    recorded = (reference.table.schema.metadata or {}).get(b"tesseral.mapping")
    if recorded is None:
        return ASE
    tree = json.loads(recorded)
    labels = tuple(LabelSource(**label) for label in tree["labels"])
    return Mapping(reference=MappedReference(**tree["reference"]), source=Source(**tree["source"]), labels=labels)


def frame_values(
    frame: Frame, labels: tuple[LabelSource, ...], names: tuple[str, ...], quantity: Quantity, charge: int
) -> dict[str, Array]:
    """What a frame states of the columns that a model predicts.

    :param frame: positions in Å.
    :param labels: where the file has which column.
    :param names: of the predictions, columns of reference data or `dipole_magnitude`.
    :param quantity: that the model predicts.
    :param charge: of the molecule, e.
    :returns: name → values in the column's unit, shape (components,) or (atoms, components); without those that the
        frame has none of.
    :raises DataError: as `label_values`.
    """
    found = {}
    for name in names:
        column = quantity.column if name == quantity.name else name
        for label in labels:
            if label.target == column and frame.has(label.name, label.of):
                values, _ = label_values(frame, label, charge, frame.where)
                found[name] = np.sqrt(np.square(values).sum(keepdims=True)) if quantity.magnitude else values
    return found
