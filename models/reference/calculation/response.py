"""Derivatives of a converged field's energy: forces on the nuclei, and the static polarizability."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf.scf import cphf, ucphf

from tesseral.models.reference.conventions import to_irreps
from tesseral.study.parsing.irreps import MulIrrep

Array = NDArray[np.float64]

RESPONSE_TOLERANCE = 1e-8
"""The coupled-perturbed equations are solved at this residual, relative to the right-hand side."""
_CYCLES = 50  # of PySCF's solver, in each round
_NORM = 100  # of the right-hand side that PySCF's solver is given, see `_Spins.solve`
_ROUNDS = 3  # of iterative refinement; two are enough in all cases seen
_SYMMETRIC = (MulIrrep(1, 0, 1), MulIrrep(1, 2, 1))


def forces(field: Any) -> Array:
    """F_A = −dE/dR_A, hartree/bohr, shape (atoms, 3).

    For a density functional, the weights of the grid are differentiated too. Forces are then the derivative of the
    stored energy, and add up to zero. With nonlocal correlation (VV10, as in wB97X-V) this would take a sum over pairs
    of points, 40 s for a water molecule, and is left out: such forces hold to the accuracy of the grid.

    :param field: a field that has run.
    """
    gradient = field.nuc_grad_method()
    if hasattr(gradient, "grid_response"):
        gradient.grid_response = not field.do_nlc()
    result: Array = -np.asarray(gradient.kernel())
    return result


def static_polarizability(field: Any) -> Array | None:
    r"""α_xy = −∂²E/∂F_x ∂F_y at field strength F = 0, by coupled-perturbed Hartree-Fock or Kohn-Sham.

    In an electric field the orbitals mix as C_i + Σ_a U_ai C_a, i occupied and a empty. With h_ai = ⟨a|r|i⟩ and the
    response v[U] of the electrons' own potential, `pyscf.scf.cphf` solves

        (ε_a − ε_i) U_ai + v_ai[U] + h_ai = 0,    α_xy = −2 Σ_spins Σ_ai h_x,ai U_y,ai.

    :param field: a field that has run.
    :returns: irreps 0e + 2e in the normalisation of `tesseral.models.reference.conventions`, bohr³, shape (6,); None if
        the equations do not converge.
    """
    spins = _Spins(field)
    dipoles = spins.joined(spins.dipoles)
    # Iterative refinement: solve, then solve again for the residual. PySCF's solver alone stops early, see `solve`.
    mixing, residual = np.zeros_like(dipoles), dipoles
    for _ in range(_ROUNDS):
        try:
            mixing = mixing + spins.solve(residual)
        except (RuntimeError, np.linalg.LinAlgError):  # an unstable field, such as that of a degenerate state
            return None
        residual = spins.gaps * mixing + spins.response(mixing) + dipoles
        if np.linalg.norm(residual) <= RESPONSE_TOLERANCE * np.linalg.norm(dipoles):
            # A restricted field has one set of orbitals for two spins.
            matrix = -(4 if spins.restricted else 2) * dipoles @ mixing.T
            return to_irreps((matrix + matrix.T) / 2, _SYMMETRIC, 2)[0]
    return None


class _Spins:
    """Occupied and empty orbitals of each spin (one for both if restricted), and the operators between them."""

    def __init__(self, field: Any) -> None:
        self.restricted = np.ndim(field.mo_occ) == 1
        coefficients, energies, filled = (np.asarray(x) for x in (field.mo_coeff, field.mo_energy, field.mo_occ))
        if self.restricted:
            coefficients, energies, filled = coefficients[None], energies[None], filled[None]
        self.occupied = [c[:, n > 0] for c, n in zip(coefficients, filled, strict=True)]
        self.empty = [c[:, n == 0] for c, n in zip(coefficients, filled, strict=True)]
        position = field.mol.intor("int1e_r")
        self.dipoles = [self._project(position, spin) for spin in range(len(filled))]
        gaps = [e[n == 0, None] - e[n > 0] for e, n in zip(energies, filled, strict=True)]
        self.gaps = np.concatenate([gap.ravel() for gap in gaps])
        self._field, self._induced = field, field.gen_response(hermi=1)

    def joined(self, parts: Sequence[Array]) -> Array:
        """Blocks (n, empty, occupied) of each spin, flattened and concatenated, shape (n, …)."""
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def split(self, joined: Array) -> list[Array]:
        """The inverse of `joined`."""
        shapes = [(e.shape[1], o.shape[1]) for e, o in zip(self.empty, self.occupied, strict=True)]
        parts = np.split(joined, np.cumsum([empty * occupied for empty, occupied in shapes])[:-1], axis=1)
        return [part.reshape(len(joined), *shape) for part, shape in zip(parts, shapes, strict=True)]

    def solve(self, right: Array) -> Array:
        """Approximate U of (ε_a − ε_i) U_ai + v_ai[U] + right = 0; both in the shape of `joined`."""
        # PySCF's solver stops at trial vectors of norm 1e-6, whatever the norm of the right-hand side. The latter is
        # therefore scaled to a fixed norm, which also lets a second round solve for a small residual.
        scale = np.linalg.norm(right, axis=1, keepdims=True) / _NORM
        scale[scale == 0] = 1.0
        field, parts = self._field, self.split(right / scale)
        solver = cphf if self.restricted else ucphf
        mixing, _ = solver.solve(
            self.response,
            field.mo_energy,
            field.mo_occ,
            parts[0] if self.restricted else tuple(parts),
            max_cycle=_CYCLES,
            verbose=0,
        )
        return scale * self.joined([mixing] if self.restricted else mixing)

    def response(self, mixing: Array) -> Array:
        """v_ai[U] in the shape of `joined`."""
        densities = []
        for u, e, o in zip(self.split(mixing.reshape(-1, len(self.gaps))), self.empty, self.occupied, strict=True):
            half = e @ u @ o.T
            densities.append((half + half.transpose(0, 2, 1)) * (2 if self.restricted else 1))
        potentials = self._induced(densities[0] if self.restricted else np.stack(densities))
        potentials = [potentials] if self.restricted else potentials
        return self.joined([self._project(v, spin) for spin, v in enumerate(potentials)])

    def _project(self, operators: Array, spin: int) -> Array:
        result: Array = self.empty[spin].T @ operators @ self.occupied[spin]
        return result
