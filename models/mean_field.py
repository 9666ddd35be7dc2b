"""A structure's self-consistent field by PySCF: Hartree-Fock, or density-functional theory."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto, scf
from pyscf.data.elements import ELEMENTS

from tesseral.models.structures import Structure
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.recipe import Method

ENERGY_TOLERANCE = 1e-10
"""Change of the energy between cycles at which a self-consistent field is converged, hartree."""
GRADIENT_TOLERANCE = 1e-7
"""Norm of the orbital gradient at which it is converged, hartree; PySCF's own choice would be 1e-5."""


def molecule(structure: Structure, method: Method) -> gto.Mole:
    """The structure in its orbital basis, silent.

    :raises StudyFileError: if PySCF does not have the basis for each element.
    :raises DataError: if charge and spin contradict the electrons.
    """
    symbols = [ELEMENTS[number] for number in structure.atomic_numbers]
    electrons = sum(structure.atomic_numbers) - structure.charge
    if electrons < 1 or not 0 <= structure.spin <= electrons or (electrons - structure.spin) % 2:
        raise DataError(
            f"expected as many unpaired electrons as {electrons} electrons allow, {structure.id} has {structure.spin}"
        )
    return gto.M(
        atom=list(zip(symbols, structure.positions.tolist(), strict=True)),
        unit="Angstrom",
        basis={symbol: load_basis(method.basis, symbol, "method.basis") for symbol in symbols},
        charge=structure.charge,
        spin=structure.spin,
        verbose=0,
    )


def load_basis(name: str, symbol: str, path: str) -> list[Any]:
    """An element's basis in PySCF's words.

    :param path: dotted path of the key that named it.
    :raises StudyFileError: if PySCF does not have it for this element.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySCF's advice to install another package
            loaded = gto.basis.load(name, symbol)
    except (RuntimeError, KeyError, OSError):
        loaded = None
    if not loaded:
        valid = "def2-universal-jfit, def2-universal-jkfit" if "auxiliary" in path else "STO-3G, def2-SVP, def2-TZVP"
        raise StudyFileError(
            path, f"expected a basis that PySCF has for {symbol}, got {name!r}; valid are {valid} and others"
        )
    return list(loaded)


def mean_field(mol: gto.Mole, method: Method) -> Any:
    """PySCF's mean-field object, not yet run: restricted without unpaired electrons, else unrestricted.

    :raises StudyFileError: if PySCF does not know the functional.
    """
    if method.method.upper() == "HF":
        field = scf.RHF(mol) if mol.spin == 0 else scf.UHF(mol)
    else:
        try:
            dft.libxc.parse_xc(method.method)
        except (KeyError, ValueError):
            raise StudyFileError(
                "method.method",
                f"expected 'HF' or a functional that PySCF knows, got {method.method!r}; "
                "valid are HF, PBE0, PBE, B3LYP and others",
            ) from None
        field = dft.RKS(mol) if mol.spin == 0 else dft.UKS(mol)
        field.xc = method.method
        field.grids.level = method.grid_level
    field.conv_tol = ENERGY_TOLERANCE
    field.conv_tol_grad = GRADIENT_TOLERANCE
    field.chkfile = None  # else each cycle writes a temporary file
    return field


def converge(field: Any) -> Any:
    """Run it; where DIIS does not converge, go on with second-order steps. The last field reached, converged or not."""
    field.kernel()
    if not field.converged:
        field = field.newton()
        field.kernel(field.mo_coeff, field.mo_occ)
    return field


def total_density_matrix(field: Any) -> NDArray[np.float64]:
    """Of both spins together, shape (orbitals, orbitals)."""
    matrix = np.asarray(field.make_rdm1())
    return matrix if matrix.ndim == 2 else matrix.sum(axis=0)
