"""The minimum of a molecule's energy and the harmonic vibrations about it, by PySCF."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pyscf import lib
from pyscf.data import radii
from scipy.optimize import minimize

from tesseral.models.reference.calculation.mean_field import converge, mean_field, molecule
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR, DALTON, HARTREE_WAVENUMBER
from tesseral.study.errors import DataError
from tesseral.study.recipe.method import Method

Array = NDArray[np.float64]

FORCE_TOLERANCE = 3e-5
"""The search for a minimum ends at this largest component of the gradient, hartree/bohr."""
LOWEST_WAVENUMBER = 20.0
"""Modes below this, 1/cm, are rejected: imaginary ones are not at a minimum, very soft ones are not harmonic."""
DEGENERATE = 1.0
"""Modes whose wavenumbers differ by less than this, 1/cm, are degenerate: any rotation among them is equally valid."""
_ITERATIONS = 500  # of the search for a minimum, at most
_RANK = 1e-3  # relative size below which a rotation moves nothing: that of a linear molecule about its axis


@dataclass(frozen=True)
class Vibrations:
    """A minimum of the energy and the normal modes about it."""

    positions: Array
    """Positions at the minimum, Å, shape (atoms, 3)."""
    masses: Array
    """Mass of each atom, averaged over natural isotopes, electron masses, shape (atoms,)."""
    frequencies: Array
    """Angular frequency ω of each mode, ascending, hartree/ħ, shape (modes,)."""
    modes: Array
    """Orthonormal mass-weighted displacements, √mass times displacement, shape (modes, 3 · atoms)."""

    def to_json(self) -> str:
        """JSON that preserves every bit."""
        return json.dumps({key: value.tolist() for key, value in vars(self).items()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`.

        :param text: result of `to_json`.
        """
        return cls(**{key: np.array(value) for key, value in json.loads(text).items()})


_KNOWN: dict[Hashable, Vibrations] = {}


def vibrations(structure: Structure, method: Method, optimise: bool) -> Vibrations:
    """Normal modes at the minimum nearest to a structure, computed once in a process.

    ω² are the eigenvalues of M^(-1/2) H M^(-1/2), H the analytic second derivatives, on the space without translations
    and rotations of the molecule.

    :param structure: where the search starts, positions in Å.
    :param method: level of theory and basis.
    :param optimise: search the minimum first, by quasi-Newton steps (BFGS) in Cartesian coordinates; False: the
        structure is the minimum.
    :raises DataError: if the field or the minimum does not converge, PySCF has no second derivatives of the method, or
        the structure has a mode below `LOWEST_WAVENUMBER`.
    """
    key = _key(structure, method, optimise)
    if key not in _KNOWN:
        _KNOWN[key] = _compute(structure, method, optimise)
    return _KNOWN[key]


def recall(structure: Structure, method: Method, optimise: bool, known: Vibrations) -> None:
    """Let `vibrations` of these return a result of an earlier run, such as one that was killed.

    :param structure: as for `vibrations`.
    :param method: as for `vibrations`.
    :param optimise: as for `vibrations`.
    :param known: the result.
    """
    _KNOWN[_key(structure, method, optimise)] = known


def covalent_radii(atomic_numbers: Sequence[int]) -> Array:
    """Covalent radius of each atom, Å, shape (atoms,): Cordero et al. (Dalton Trans. 2832, 2008), carbon's of sp².

    :param atomic_numbers: one of each atom.
    """
    radius: Array = radii.COVALENT[list(atomic_numbers)] * BOHR
    return radius


def _key(structure: Structure, method: Method, optimise: bool) -> Hashable:
    place = structure.positions.tobytes()
    return structure.atomic_numbers, place, structure.charge, structure.spin, method, optimise


def _compute(structure: Structure, method: Method, optimise: bool) -> Vibrations:
    name, atomic_numbers = structure.id, structure.atomic_numbers
    if len(atomic_numbers) < 2:
        raise DataError(f"expected a molecule of at least two atoms, {name} has {len(atomic_numbers)} and no vibration")
    with lib.with_omp_threads(1):  # the last bits of a sum depend on the number of threads
        if optimise:
            structure = _minimum(structure, method)
        field = _converged(structure, method)
        try:
            hessian = field.Hessian().kernel()
        except (NotImplementedError, AttributeError, KeyError) as error:
            raise DataError(
                f"expected a method whose second derivatives PySCF has, {method.method}/{method.basis} is none "
                f"({error}); valid are HF, PBE, PBE0 and others"
            ) from None
    masses = field.mol.atom_mass_list(isotope_avg=True) * DALTON
    size = 3 * len(masses)
    root = np.sqrt(np.repeat(masses, 3))
    # PySCF's axes are atom, atom, direction, direction.
    weighted = hessian.transpose(0, 2, 1, 3).reshape(size, size) / np.outer(root, root)
    inner = _vibrational(field.mol.atom_coords(), masses)
    squares, vectors = np.linalg.eigh(inner @ weighted @ inner.T)
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares))
    if (lowest := frequencies[0] * HARTREE_WAVENUMBER) < LOWEST_WAVENUMBER:
        said = f"an imaginary mode of {-lowest:.0f}i" if lowest < 0 else f"a mode of {lowest:.0f}"
        raise DataError(
            f"expected a minimum of {method.method}/{method.basis}, {name} has {said} 1/cm: start "
            + ("from a geometry that is less symmetric" if optimise else "from its minimum, or set optimise = true")
        )
    return Vibrations(structure.positions, masses, frequencies, _canonical(frequencies, vectors.T @ inner))


def _minimum(structure: Structure, method: Method) -> Structure:
    """The minimum that quasi-Newton steps from the structure lead to."""

    def at(flat: Array) -> Structure:
        positions = flat.reshape(-1, 3) * BOHR
        return Structure(structure.id, structure.atomic_numbers, positions, structure.charge, structure.spin)

    def energy_and_gradient(flat: Array) -> tuple[float, Array]:
        field = _converged(at(flat), method)
        return float(field.e_tot), np.asarray(field.nuc_grad_method().kernel()).ravel()

    start = structure.positions.ravel() / BOHR
    minimum = minimize(
        energy_and_gradient,
        start,
        jac=True,
        method="BFGS",
        options={"gtol": FORCE_TOLERANCE, "norm": np.inf, "maxiter": _ITERATIONS},
    )
    if np.abs(minimum.jac).max() > 10 * FORCE_TOLERANCE:  # noise of the grid may end the steps a little early
        raise DataError(
            f"expected a minimum of {method.method}/{method.basis} near the geometry of {structure.id}, after "
            f"{minimum.nit} steps a force of {np.abs(minimum.jac).max():.1e} hartree/bohr is left; give a better "
            "geometry"
        )
    return at(minimum.x)


def _converged(structure: Structure, method: Method) -> Any:
    field = converge(mean_field(molecule(structure, method), method))
    if not field.converged:
        raise DataError(
            f"expected {structure.id} to converge on the way to its vibrations, with {method.method}/{method.basis} "
            "it did not; give another method, basis or geometry"
        )
    return field


def _vibrational(positions: Array, masses: Array) -> Array:
    """An orthonormal basis of the mass-weighted motions that neither shift nor turn the molecule.

    :returns: shape (modes, 3 · atoms); modes = 3 · atoms − 6, or − 5 for a linear molecule.
    """
    root = np.sqrt(masses)[:, None]
    centred = positions - (masses @ positions) / masses.sum()
    shifts = [root * axis for axis in np.eye(3)]
    # About principal axes, so that a linear molecule has one turn that moves nothing, and no mixture of it.
    turns = [root * np.cross(axis, centred) for axis in np.linalg.svd(centred)[2]]
    rigid = np.array([motion.ravel() for motion in (*shifts, *turns)])
    scale = np.abs(rigid).max()
    _, values, motions = np.linalg.svd(rigid / scale)
    rank = int((values > _RANK * values[0]).sum())
    rest: Array = motions[rank:]
    return rest


def _canonical(frequencies: Array, modes: Array) -> Array:
    """The same modes with signs, and rotations among degenerate modes, that do not depend on the eigensolver.

    Each set of degenerate modes gets a new basis: the projections of fixed vectors on its span, made orthonormal.
    """
    fixed = np.random.default_rng(0).normal(size=modes.shape)
    canonical = np.empty_like(modes)
    start = 0
    for stop in range(1, len(modes) + 1):
        gap = stop == len(modes) or frequencies[stop] - frequencies[stop - 1] > DEGENERATE / HARTREE_WAVENUMBER
        if gap:
            span = modes[start:stop]
            turned, triangle = np.linalg.qr(span @ fixed[start:stop].T)
            canonical[start:stop] = (turned * np.sign(np.diag(triangle))).T @ span
            start = stop
    return canonical
