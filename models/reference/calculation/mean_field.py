"""A structure's self-consistent field by PySCF: Hartree-Fock, or density-functional theory."""

import importlib.util
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, dft, gto, scf
from pyscf.data.elements import ELEMENTS
from scipy.spatial.distance import pdist, squareform

from tesseral.models.reference.calculation.basis_set import load_orbital_basis
from tesseral.models.reference.structure import Structure
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.recipe.method import Method

ENERGY_TOLERANCE = 1e-10
"""Change of the energy between cycles at which a self-consistent field is converged, hartree."""
GRADIENT_TOLERANCE = 1e-7
"""Norm of the orbital gradient at which it is converged, hartree; PySCF's own choice would be 1e-5."""
DENSITY_FITTING_ORBITALS = 200
"""Orbitals from which on `density_fitting = "auto"` fits the integrals. From here they would no longer fit in 2 GB
(orbitals⁴ bytes) and be computed again in each cycle. Below, it gains 1.3 × (PBE0/def2-SVP, 144 orbitals) or nothing
(PBE), and costs some 1e-5 hartree an atom."""
CLOSEST = 0.1
"""Two atoms nearer than this are at one place by mistake, Å."""
_STEP = 1e-9  # smallest step of the second-order solver: well below GRADIENT_TOLERANCE


def check(structure: Structure, method: Method) -> None:
    """Refuse a structure that cannot be computed, in microseconds.

    :raises DataError: if it has no atoms, a position that is no finite number or unknown elements; if two atoms are
        at one place; if charge and spin contradict the electrons.
    """
    numbers, positions = structure.atomic_numbers, np.asarray(structure.positions)
    if not numbers or positions.shape != (len(numbers), 3):
        raise DataError(
            f"expected x, y, z of each atom, {structure.id} has {len(numbers)} atoms and positions of shape "
            f"{positions.shape}"
        )
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions).all(axis=1))[0, 0])
        raise DataError(f"expected finite coordinates, atom {atom} of {structure.id} is at {positions[atom].tolist()}")
    if unknown := [number for number in numbers if not 0 < number < len(ELEMENTS)]:
        raise DataError(
            f"expected atomic numbers of 1 to {len(ELEMENTS) - 1}, {structure.id} has an atom of {unknown[0]}"
        )
    if len(numbers) > 1:
        distances = squareform(pdist(positions)) + np.diag(np.full(len(numbers), np.inf))
        first, second = sorted(map(int, np.unravel_index(distances.argmin(), distances.shape)))
        if distances[first, second] < CLOSEST:
            raise DataError(
                f"expected atoms at least {CLOSEST} Å apart, atoms {first} and {second} of {structure.id} are "
                f"{distances[first, second]:.3g} Å apart"
            )
    electrons = sum(numbers) - structure.charge
    if electrons < 1 or not 0 <= structure.spin <= electrons or (electrons - structure.spin) % 2:
        valid = f"valid are {electrons % 2}, {electrons % 2 + 2}, …" if electrons > 0 else "its charge is too high"
        raise DataError(
            f"expected as many unpaired electrons as {electrons} electrons allow, {structure.id} has {structure.spin}; "
            f"{valid}"
        )


def molecule(structure: Structure, method: Method) -> gto.Mole:
    """The structure in its orbital basis, silent.

    :raises StudyFileError: if there is no such basis for each element, or it has too few orbitals for the spin.
    :raises DataError: as `check`.
    """
    check(structure, method)
    symbols = [ELEMENTS[number] for number in structure.atomic_numbers]
    mol = gto.M(
        atom=list(zip(symbols, structure.positions.tolist(), strict=True)),
        unit="Angstrom",
        basis={symbol: load_orbital_basis(method.basis, symbol) for symbol in set(symbols)},
        charge=structure.charge,
        spin=structure.spin,
        verbose=0,
        max_memory=method.max_memory,
    )
    if max(mol.nelec) > mol.nao:
        raise StudyFileError(
            "method.basis",
            f"expected a basis with orbitals for {max(mol.nelec)} electrons of one spin in {structure.id}, "
            f"{method.basis!r} has {mol.nao}",
        )
    return mol


def mean_field(mol: gto.Mole, method: Method) -> Any:
    """PySCF's mean-field object, not yet run: restricted without unpaired electrons, else or if asked unrestricted.

    :raises StudyFileError: if PySCF does not know the functional.
    """
    restricted = mol.spin == 0 and not method.unrestricted
    if method.method.upper() == "HF":
        # The class, for PySCF's function gives a single electron another field, whose empty orbitals miss it.
        field = scf.RHF(mol) if restricted else scf.uhf.UHF(mol)
    else:
        _check_functional(method.method)
        field = dft.RKS(mol) if restricted else dft.UKS(mol)
        field.xc = method.method
        field.grids.level = method.grid_level
    fitted = mol.nao >= DENSITY_FITTING_ORBITALS if method.density_fitting == "auto" else method.density_fitting
    if fitted:
        # Named, for PySCF sees shells and no name in the molecule, and would take an even-tempered basis.
        field = field.density_fit(auxbasis=df.addons.predefined_auxbasis(mol, method.basis, method.method))
    field.conv_tol = ENERGY_TOLERANCE
    field.conv_tol_grad = GRADIENT_TOLERANCE
    field.max_cycle = method.max_cycle
    field.chkfile = None  # else each cycle writes a temporary file
    return field


@cache
def _check_functional(name: str) -> None:
    try:
        functional, _, dispersion = scf.dispersion.parse_dft(name)
        hybrid, terms = dft.libxc.parse_xc(functional)
    except (KeyError, ValueError, NotImplementedError):
        known = False
    else:
        known = bool(terms) or any(hybrid)
    if not known:
        raise StudyFileError(
            "method.method",
            f"expected 'HF' or a functional that PySCF knows, got {name!r}; valid are HF, PBE0, PBE, B3LYP and others",
        )
    if dispersion and importlib.util.find_spec("pyscf.dispersion") is None:
        raise StudyFileError(
            "method.method",
            f"expected a functional without dispersion, for pyscf-dispersion is not installed, got {name!r}; "
            f"{functional!r} has the same density",
        )


def converge(field: Any) -> Any:
    """Run it; where DIIS does not converge, go on with second-order steps. The last field reached, converged or not.

    :return: `field`, its `cycles` those of both.
    """
    field.kernel()
    if not field.converged:
        second, last = field.newton(), [-1]
        second.ah_lindep = _STEP**2  # PySCF's own takes a step of 1e-7 for none, and stays at a gradient of 2e-6
        second.callback = lambda state: last.append(state["imacro"])
        second.kernel(field.mo_coeff, field.mo_occ)
        # The state goes back to the first: forces and responses are asked of it.
        for key in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
            setattr(field, key, getattr(second, key))
        field.cycles += last[-1] + 1
    return field


def total_density_matrix(field: Any) -> NDArray[np.float64]:
    """Of both spins together, shape (orbitals, orbitals)."""
    matrix = np.asarray(field.make_rdm1())
    return matrix if matrix.ndim == 2 else matrix.sum(axis=0)


def frontier(field: Any) -> tuple[float, float | None]:
    """Energies of the highest occupied and the lowest empty orbital of either spin, hartree; None if none is empty."""
    energies, occupations = np.ravel(field.mo_energy), np.ravel(field.mo_occ)
    empty = energies[occupations == 0]
    return float(energies[occupations > 0].max()), float(empty.min()) if len(empty) else None


def self_repulsion(field: Any, density_matrix: NDArray[np.float64]) -> float:
    """J = ½ ∫∫ ρ(r) ρ(r') / |r − r'| of the field's electrons, hartree; by the exact integrals, also where the field's
    own are fitted.

    :param density_matrix: from `total_density_matrix`.
    """
    exact = scf.hf.SCF(field.mol) if hasattr(field, "with_df") else field  # which may hold the integrals in memory
    return 0.5 * float(np.vdot(exact.get_j(field.mol, density_matrix), density_matrix))
