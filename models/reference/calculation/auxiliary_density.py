"""A density as PySCF's own auxiliary functions and coefficients, to compute with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, e3nn_rotation, function_charges
from tesseral.study.errors import DataError

Array = NDArray[np.float64]

SNIPPET = """\
import json
import numpy as np
from pyscf import gto

saved = np.load({path!r})
atoms = list(zip(saved["symbols"].tolist(), saved["positions"].tolist()))
mol = gto.M(atom=atoms, unit="Bohr", basis=json.loads(str(saved["basis"])), spin=None)
c = saved["coefficients"]
electrons = saved["charges"] @ c
repulsion = c @ mol.intor("int2c2e") @ c / 2                     # of the density with itself, hartree
density = mol.eval_gto("GTOval_sph", mol.atom_coords()) @ c      # electron/bohr^3, at any points in bohr
"""
"""How to use a saved density without tesseral, with a placeholder `path`."""


@dataclass(frozen=True)
class AuxiliaryDensity:
    """ρ(r) = Σ_P c_P χ_P(r) with PySCF's functions."""

    molecule: gto.Mole
    """The atoms, with the auxiliary functions as their basis."""
    coefficients: Array
    """c in the order of the molecule's functions, electron · bohr^(−3/2), shape (functions,)."""
    charges: Array
    """∫χ_P, bohr^(3/2), shape (functions,); ρ holds charges · coefficients electrons."""

    def save(self, path: str | Path) -> None:
        """Write plain arrays to a NumPy file `.npz`, to be read by `SNIPPET` with PySCF alone.

        :param path: of the new file; one that exists is replaced.
        :raises DataError: if it cannot be written.
        """
        try:
            with Path(path).open("wb") as file:
                np.savez(
                    file,
                    symbols=np.array([self.molecule.atom_pure_symbol(i) for i in range(self.molecule.natm)]),
                    positions=self.molecule.atom_coords(),
                    basis=np.array(json.dumps(self.molecule._basis)),
                    coefficients=self.coefficients,
                    charges=self.charges,
                )
        except OSError as error:
            raise DataError(
                f"expected to write an auxiliary density, {path} cannot be written: {error.strerror}"
            ) from None


def to_pyscf(
    basis: AuxiliaryBasis, atomic_numbers: Sequence[int], positions: Array, coefficients: Sequence[Array]
) -> AuxiliaryDensity:
    """Density coefficients in e3nn's order and axes turned to PySCF's: c^PySCF = Qᵀ c^e3nn, Q of `e3nn_rotation`.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: for each atom, e3nn's order and axes, electron · bohr^(−3/2), shape (basis.size(Z),).
    """
    molecule = auxiliary_molecule(basis.shells, atomic_numbers, positions)
    charges = function_charges(basis.shells, atomic_numbers)
    return AuxiliaryDensity(molecule, e3nn_rotation(molecule).T @ np.concatenate(coefficients), charges)
