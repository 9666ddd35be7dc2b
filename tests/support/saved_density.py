"""A saved auxiliary density read back as `SNIPPET` does, in e3nn's order and axes."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

from tesseral.models.reference.calculation.auxiliary_density import AuxiliaryDensity
from tesseral.models.reference.calculation.density_fit import e3nn_rotation


def load_density(path: Path) -> AuxiliaryDensity:
    with np.load(path) as saved:
        atoms = list(zip(saved["symbols"].tolist(), saved["positions"].tolist(), strict=True))
        molecule = gto.M(atom=atoms, unit="Bohr", basis=json.loads(str(saved["basis"])), spin=None, verbose=0)
        return AuxiliaryDensity(molecule, saved["coefficients"], saved["charges"])


def e3nn_coefficients(density: AuxiliaryDensity) -> list[NDArray[np.float64]]:
    """Coefficients of each atom: c^e3nn = Q c^PySCF."""
    flat = e3nn_rotation(density.molecule) @ density.coefficients
    ends = [stop for _, _, _, stop in density.molecule.aoslice_by_atom()]
    return list(np.split(flat, ends[:-1]))
