"""The self-consistent field of a structure by PySCF: Hartree-Fock or density-functional theory."""

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
"""Norm of the orbital gradient at which a field is converged, hartree. PySCF would take √ENERGY_TOLERANCE = 1e-5:
enough for the energy, whose error is quadratic in that of the density, but not for the density."""
DENSITY_FITTING_ORBITALS = 200
"""Number of orbitals from which `density_fitting = "auto"` fits the two-electron integrals. From here they exceed 2 GB
(orbitals⁴ bytes), and would be computed again in each cycle. For fewer, fitting gains a factor of 1.3 (PBE0/def2-SVP,
144 orbitals) or nothing (PBE), and costs about 1e-5 hartree per atom."""
CLOSEST = 0.1
"""Atoms nearer to each other than this are a mistake in the structure, Å."""
_STEP = 1e-9  # smallest step of the second-order solver, well below GRADIENT_TOLERANCE


def check(structure: Structure, method: Method) -> None:
    """Reject a structure that cannot be computed, in microseconds.

    :param structure: positions in Å.
    :param method: level of theory and basis.
    :raises DataError: if it has no atoms, positions that are not finite or unknown elements; if two atoms are nearer
        than `CLOSEST`; if charge and spin contradict the number of electrons.
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
    """The structure as a PySCF molecule in its orbital basis, without PySCF's output.

    :param structure: positions in Å.
    :param method: of which the orbital basis counts.
    :raises StudyFileError: if there is no such basis for an element, or it has too few orbitals for the spin.
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
    """PySCF's mean-field object, not yet run.

    It is restricted, unless the molecule has unpaired electrons or `method.unrestricted` is set.

    :param mol: from `molecule`.
    :param method: level of theory and basis.
    :raises StudyFileError: if PySCF does not know the functional.
    """
    restricted = mol.spin == 0 and not method.unrestricted
    if method.method.upper() == "HF":
        # scf.uhf.UHF, not scf.UHF: for one electron, the latter returns a field whose empty orbitals do not feel it.
        field = scf.RHF(mol) if restricted else scf.uhf.UHF(mol)
    else:
        _check_functional(method.method)
        field = dft.RKS(mol) if restricted else dft.UKS(mol)
        field.xc = method.method
        field.grids.level = method.grid_level
    fitted = mol.nao >= DENSITY_FITTING_ORBITALS if method.density_fitting == "auto" else method.density_fitting
    if fitted:
        # The molecule holds shells instead of a basis name, so PySCF would fall back on an even-tempered basis.
        field = field.density_fit(auxbasis=df.addons.predefined_auxbasis(mol, method.basis, method.method))
    field.conv_tol = ENERGY_TOLERANCE
    field.conv_tol_grad = GRADIENT_TOLERANCE
    field.max_cycle = method.max_cycle
    field.chkfile = None  # PySCF would otherwise write a temporary file in each cycle
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
            f"expected a functional without dispersion, since pyscf-dispersion is not installed, got {name!r}; "
            f"{functional!r} has the same density",
        )


def converge(field: Any) -> Any:
    """Run a field by DIIS and, where that does not converge, go on with second-order steps.

    :param field: from `mean_field`.
    :returns: `field` after the last cycle, converged or not; its `cycles` count both.
    """
    field.kernel()
    if not field.converged:
        second, last = field.newton(), [-1]
        second.ah_lindep = _STEP**2  # PySCF's default takes steps of 1e-7 for zero, and stays at a gradient of 2e-6
        second.callback = lambda state: last.append(state["imacro"])
        second.kernel(field.mo_coeff, field.mo_occ)
        # The first object gets the state: forces and responses are computed from it, not from the solver.
        for key in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
            setattr(field, key, getattr(second, key))
        field.cycles += last[-1] + 1
    return field


def total_density_matrix(field: Any) -> NDArray[np.float64]:
    """Density matrix of both spins together, shape (orbitals, orbitals).

    :param field: a field that has run.
    """
    matrix = np.asarray(field.make_rdm1())
    return matrix if matrix.ndim == 2 else matrix.sum(axis=0)


def frontier(field: Any) -> tuple[float, float | None]:
    """Energies of the highest occupied and the lowest empty orbital (None if none is empty) of either spin, hartree.

    :param field: a field that has run.
    """
    energies, occupations = np.ravel(field.mo_energy), np.ravel(field.mo_occ)
    empty = energies[occupations == 0]
    return float(energies[occupations > 0].max()), float(empty.min()) if len(empty) else None


def self_repulsion(field: Any, density_matrix: NDArray[np.float64]) -> float:
    """J = ½ ∫∫ ρ(r) ρ(r') / |r − r'| of the electrons, hartree, by exact integrals even if the field's are fitted.

    :param field: a field that has run.
    :param density_matrix: from `total_density_matrix`.
    """
    # A field without fitting is used itself: it may still hold the integrals in memory.
    exact = scf.hf.SCF(field.mol) if hasattr(field, "with_df") else field
    return 0.5 * float(np.vdot(exact.get_j(field.mol, density_matrix), density_matrix))
