"""The reference calculation: one structure in, one row of `tesseral.study.records.REFERENCE` out (by PySCF)."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pyscf
from numpy.typing import NDArray
from pyscf import gto, lib

from tesseral.models.auxiliary import AuxiliaryBasis, Shell
from tesseral.models.density_fit import (
    auxiliary_molecule,
    auxiliary_shells,
    e3nn_rotation,
    fit_density,
    fit_error,
    function_charges,
    packed_overlap,
)
from tesseral.models.isolated_atom import with_isolated_atom
from tesseral.models.mean_field import converge, mean_field, molecule, total_density_matrix
from tesseral.models.structures import Structure
from tesseral.study.recipe import Method


def calculate(structure: Structure, method: Method) -> dict[str, Any]:
    """Energy, dipole, density coefficients and their overlap matrix, as one row of `REFERENCE`.

    A calculation that did not converge is a row all the same, with `converged` false. One thread is used:
    structures are the unit of parallel work.

    :raises StudyFileError: if PySCF does not know the method or a basis, with the dotted path in the recipe.
    :raises DataError: if charge and spin contradict the electrons.
    """
    started = time.perf_counter()
    with lib.with_omp_threads(1):
        mol = molecule(structure, method)
        field = converge(mean_field(mol, method))
        density_matrix = total_density_matrix(field)
        shells = {number: _shells(number, method) for number in set(structure.atomic_numbers)}
        auxiliary = auxiliary_molecule(shells, structure.atomic_numbers, structure.positions)
        charges = function_charges(shells, structure.atomic_numbers)
        coefficients = fit_density(mol, density_matrix, auxiliary, charges, method.metric)
        error = fit_error(mol, density_matrix, auxiliary, coefficients)
        centre, dipole = _dipole(mol, density_matrix)
    ends = [stop for _, _, _, stop in auxiliary.aoslice_by_atom()]
    return {
        "id": structure.id,
        "atomic_numbers": list(structure.atomic_numbers),
        "positions": structure.positions.tolist(),
        "charge": structure.charge,
        "spin": structure.spin,
        "method": method.method,
        "basis": method.basis,
        "auxiliary_basis": basis_name(method),
        "converged": bool(field.converged),
        "energy": float(field.e_tot),
        "centre": centre.tolist(),
        "dipole": dipole.tolist(),
        "coefficients": [part.tolist() for part in np.split(e3nn_rotation(auxiliary) @ coefficients, ends[:-1])],
        "overlap": packed_overlap(auxiliary),
        "electrons": float(charges @ coefficients),
        "fit_error": error,
        "seconds": time.perf_counter() - started,
        "provenance": json.dumps({"program": "PySCF", "version": pyscf.__version__, "settings": asdict(method)}),
    }


def basis_name(method: Method) -> str:
    """The auxiliary basis as the records name it."""
    return f"{method.auxiliary_basis}, decontracted" if method.decontracted else method.auxiliary_basis


def reference_basis(structures: Iterable[Structure], method: Method) -> AuxiliaryBasis:
    """The auxiliary basis of all elements that occur, with their isolated atoms computed at the same level.

    :raises StudyFileError: as `calculate` does, so that a mistake shows before any structure is computed.
    :raises DataError: if an isolated atom does not converge.
    """
    numbers = sorted({number for structure in structures for number in structure.atomic_numbers})
    with lib.with_omp_threads(1):
        shells = {number: with_isolated_atom(number, _shells(number, method), method) for number in numbers}
    return AuxiliaryBasis(basis_name(method), shells)


@cache
def _shells(atomic_number: int, method: Method) -> tuple[Shell, ...]:
    return auxiliary_shells(atomic_number, method.auxiliary_basis, method.decontracted)


def _dipole(mol: gto.Mole, density_matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of nuclear charge C, Å, and μ = −∫ρ(r) (r − C) dr in e3nn's order (x, y, z), e·bohr.

    The nuclei's own dipole about their centre of charge is zero.
    """
    charges, bohr = mol.atom_charges(), mol.atom_coords()
    centre = charges @ bohr / charges.sum()
    with mol.with_common_orig(centre):
        dipole = -np.einsum("xij,ji->x", mol.intor("int1e_r"), density_matrix)
    return centre * lib.param.BOHR, dipole
