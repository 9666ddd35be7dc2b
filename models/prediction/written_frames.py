"""Predictions written as extended XYZ, in the keys and units of ASE."""

from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import full_3x3_to_voigt_6_stress

from tesseral.models.networks.neighbors import whole_cell
from tesseral.models.prediction.ase_units import Array, to_ase
from tesseral.models.prediction.predicted_frames import PredictedFrame
from tesseral.study.configuration.quantities import Quantity

RESULTS = ("energy", "forces", "stress", "dipole")
"""Columns that ASE has a key of its own for."""


def write_frame(file: IO[str], predicted: PredictedFrame, quantity: Quantity) -> None:
    """Write a frame with what is predicted of it.

    Keys are the columns of reference data, `label.` left out. Of several models, the mean is written, and under
    `<key>_spread` the standard deviation of their predictions. Keys of the frame's own comment line are kept where no
    prediction has their name.

    :param file: open for writing.
    :param predicted: a frame and its predictions.
    :param quantity: that the models predict.
    """
    structure = predicted.structure
    kept = {name: predicted.frame.info[name][0] for name in predicted.frame.names("structure")}
    info = {name: True if text is None else text for name, text in kept.items()}
    cell = None if structure.cell is None else whole_cell(structure.cell)
    repeats = False if structure.cell is None else structure.cell.any(axis=1)
    atoms = Atoms(structure.atomic_numbers, structure.positions, info=info, cell=cell, pbc=repeats)
    results: dict[str, Any] = {}
    for name in predicted.members[0]:
        values = np.array([to_ase(name, member[name], quantity) for member in predicted.members])
        key, mean = name.removeprefix("label."), values.mean(axis=0)
        atoms.info.pop(key, None)
        owners = atoms.arrays if name not in ("energy", "stress") and quantity.per == "atom" else atoms.info
        if key in RESULTS:
            results[key] = full_3x3_to_voigt_6_stress(mean) if key == "stress" else _plain(mean)
        else:
            owners[key] = _plain(mean)
        if len(values) > 1:
            owners[f"{key}_spread"] = _plain(values.std(axis=0, ddof=1))
    atoms.calc = SinglePointCalculator(atoms, **results)
    write(file, atoms, format="extxyz")


def _plain(values: Array) -> Any:
    """A single number as such."""
    return float(values[0]) if values.shape == (1,) else values
