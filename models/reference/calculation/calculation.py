"""The reference calculation by PySCF: one structure in, one row of `tesseral.study.records.schemas.REFERENCE` out."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyscf import lib

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.density.multipoles import moments
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_name, method_shells
from tesseral.models.reference.calculation.density_fit import (
    auxiliary_molecule,
    e3nn_rotation,
    fit_density,
    fit_error,
    function_charges,
    packed_overlap,
    self_repulsion_error,
)
from tesseral.models.reference.calculation.field_multipoles import field_moments
from tesseral.models.reference.calculation.isolated_atom import with_isolated_atom
from tesseral.models.reference.calculation.mean_field import (
    check,
    converge,
    frontier,
    mean_field,
    molecule,
    self_repulsion,
    total_density_matrix,
)
from tesseral.models.reference.calculation.partial_charges import check_scheme, partial_charges
from tesseral.models.reference.calculation.response import forces, static_polarizability
from tesseral.models.reference.structure import Structure
from tesseral.study.recipe.method import Method

_Shells = dict[int, tuple[Shell, ...]]  # by atomic number


def calculate(structure: Structure, method: Method) -> dict[str, Any]:
    """Compute energy, orbital energies, multipoles, density coefficients and what `method.quantities` asks for.

    A calculation that does not converge gives a row too, with `converged` false. It holds the last cycle, without
    forces, polarizability and charges, which only a converged field has; without a finite energy it holds the structure
    alone. One thread is used, since structures are the unit of parallel work.

    :param structure: positions in Å.
    :param method: level of theory, bases and quantities.
    :returns: a row of `REFERENCE`; quantities that were not asked for are missing, and become null.
    :raises StudyFileError: if there is no such method or basis, with the dotted path in the recipe.
    :raises DataError: if the structure cannot be computed, see
        `tesseral.models.reference.calculation.mean_field.check`.
    """
    started = time.perf_counter()
    stages = _Stages()
    with lib.with_omp_threads(1):
        mol = molecule(structure, method)
        if "charges" in method.quantities:
            check_scheme(set(structure.atomic_numbers), method)
        shells = {number: method_shells(number, method) for number in set(structure.atomic_numbers)}
        field = mean_field(mol, method)
        row = {
            "id": structure.id,
            "atomic_numbers": list(structure.atomic_numbers),
            "positions": structure.positions.tolist(),
            "charge": structure.charge,
            "spin": structure.spin,
            "method": method.method,
            "basis": method.basis,
            "auxiliary_basis": auxiliary_name(method),
            "converged": False,
        }
        try:
            with stages("field"):
                field = converge(field)
        except np.linalg.LinAlgError:  # a matrix became singular between cycles
            field.e_tot = np.nan
        if np.isfinite(field.e_tot):
            row |= {"converged": bool(field.converged), "energy": float(field.e_tot)}
            row |= _properties(structure, method, field, shells, stages)
    return row | {
        "cycles": int(field.cycles),
        "seconds": time.perf_counter() - started,
        "timings": json.dumps({stage: round(seconds, 4) for stage, seconds in stages.seconds.items()}),
        "provenance": json.dumps(
            {
                "program": "PySCF",
                "versions": _versions(),
                "settings": asdict(method),
                "density_fitting": hasattr(field, "with_df"),
            }
        ),
    }


def reference_basis(structures: Iterable[Structure], method: Method) -> AuxiliaryBasis:
    """The auxiliary basis of all elements that occur, with isolated atoms computed at the same level of theory.

    It also checks the method and every structure, so that a mistake shows before any structure is computed.

    :param structures: all structures of the recipe.
    :param method: level of theory and basis.
    :raises StudyFileError: as `calculate`.
    :raises DataError: as `calculate`; if an isolated atom does not converge.
    """
    numbers: set[int] = set()
    for structure in structures:
        check(structure, method)
        numbers.update(structure.atomic_numbers)
    if "charges" in method.quantities:
        check_scheme(numbers, method)
    with lib.with_omp_threads(1):
        shells = {
            number: with_isolated_atom(number, method_shells(number, method), method) for number in sorted(numbers)
        }
    return AuxiliaryBasis(auxiliary_name(method), shells)


def _properties(structure: Structure, method: Method, field: Any, shells: _Shells, stages: "_Stages") -> dict[str, Any]:
    """Columns of the row that follow from the orbitals."""
    density_matrix = total_density_matrix(field)
    homo, lumo = frontier(field)
    with stages("multipoles"):
        centre, multipoles, extent = field_moments(field.mol, density_matrix)
    columns = {
        "homo": homo,
        "lumo": lumo,
        "gap": None if lumo is None else lumo - homo,
        "centre": centre.tolist(),
        "dipole": multipoles[1].tolist(),
        "quadrupole": multipoles[2].tolist(),
        "octupole": multipoles[3].tolist(),
        "r2": extent,
        **_fit(structure, method, field, shells, density_matrix, multipoles[1], stages),
    }
    if not field.converged:
        return columns
    if "forces" in method.quantities:
        with stages("forces"):
            columns["forces"] = forces(field).tolist()
    if "polarizability" in method.quantities:
        with stages("polarizability"):
            polarizability = static_polarizability(field)
            columns["polarizability"] = None if polarizability is None else polarizability.tolist()
    if "charges" in method.quantities:
        with stages("charges"):
            columns["charges"] = partial_charges(field, method).tolist()
    return columns


def _fit(
    structure: Structure,
    method: Method,
    field: Any,
    shells: _Shells,
    density_matrix: NDArray[np.float64],
    dipole: NDArray[np.float64],
    stages: "_Stages",
) -> dict[str, Any]:
    """Columns of the fitted density and its errors; those are the floor of what a network of coefficients can reach."""
    numbers = structure.atomic_numbers
    auxiliary = auxiliary_molecule(shells, numbers, structure.positions)
    charges = function_charges(shells, numbers)
    with stages("fit"):
        fitted = fit_density(field.mol, density_matrix, auxiliary, charges, method.metric, method.constrain_charge)
        ends = [stop for _, _, _, stop in auxiliary.aoslice_by_atom()]
        coefficients = np.split(e3nn_rotation(auxiliary) @ fitted, ends[:-1])
        overlap = packed_overlap(auxiliary)
    with stages("fit errors"):
        electrons = float(charges @ fitted)
        return {
            "coefficients": [part.tolist() for part in coefficients],
            "overlap": overlap,
            "electrons": electrons,
            "electron_error": electrons - field.mol.nelectron,
            "dipole_error": _dipole_error(shells, structure, coefficients, dipole),
            "self_repulsion_error": self_repulsion_error(auxiliary, fitted, self_repulsion(field, density_matrix)),
            "fit_error": fit_error(field.mol, density_matrix, auxiliary, fitted),
        }


def _dipole_error(
    shells: _Shells,
    structure: Structure,
    coefficients: list[NDArray[np.float64]],
    dipole: NDArray[np.float64],
) -> float:
    """Length of the fitted density's dipole less the field's, e bohr."""
    fitted = moments(
        AuxiliaryBasis("", shells),
        structure.atomic_numbers,
        torch.tensor(structure.positions),
        [torch.tensor(part) for part in coefficients],
    )
    return float(np.linalg.norm(fitted[1].numpy() - dipole))


@cache
def _versions() -> dict[str, str]:
    return {package: version(package) for package in ("pyscf", "numpy", "scipy", "torch", "e3nn")}


class _Stages:
    """Wall time of each stage of a calculation, s."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started
