"""Partial charges of the atoms of a converged field: intrinsic atomic orbitals, or Hirshfeld."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, lo
from pyscf.data.elements import ELEMENTS

from tesseral.models.reference.calculation.basis_set import load_basis
from tesseral.models.reference.calculation.isolated_atom import isolated_density
from tesseral.models.reference.calculation.mean_field import total_density_matrix
from tesseral.study.recipe.method import Method

Array = NDArray[np.float64]

MINIMAL_BASIS = "minao"
"""PySCF's free-atom orbitals, from which intrinsic atomic orbitals differ as little as the molecule allows."""
HIRSHFELD_GRID_LEVEL = 3
"""PySCF's level of the Becke grid on which Hirshfeld's integrals are summed."""
_BLOCK = 4096  # grid points evaluated at once, so that memory stays flat


def check_scheme(atomic_numbers: set[int], method: Method) -> None:
    """Reject elements for which `method.charge_scheme` has no reference.

    :param atomic_numbers: those that occur.
    :param method: level of theory and basis.
    :raises StudyFileError: if the scheme is `iao` and an element has no minimal basis.
    """
    if method.charge_scheme == "iao":
        for number in sorted(atomic_numbers):
            load_basis(MINIMAL_BASIS, ELEMENTS[number], "method.charge_scheme")


def partial_charges(field: Any, method: Method) -> Array:
    """Charges by `method.charge_scheme`, e, shape (atoms,); they add up to the total charge.

    :param field: a field that has run.
    :param method: level of theory and basis.
    """
    return intrinsic_charges(field) if method.charge_scheme == "iao" else hirshfeld_charges(field, method)


def intrinsic_charges(field: Any) -> Array:
    """q_A = Z_A − Σ_{μ on A} ⟨μ|D|μ⟩ over orthonormal intrinsic atomic orbitals μ, e, shape (atoms,).

    There are as many of these as in a minimal basis, and they span all occupied orbitals.
    Source: Knizia, J. Chem. Theory Comput. 9, 4834, 2013.

    :param field: a field that has run.
    """
    mol, overlap = field.mol, field.mol.intor_symmetric("int1e_ovlp")
    coefficients, filled = np.asarray(field.mo_coeff), np.asarray(field.mo_occ)
    if filled.ndim == 1:
        coefficients, filled = coefficients[None], filled[None]
    atoms = lo.iao.reference_mol(mol, MINIMAL_BASIS).aoslice_by_atom()
    charges: Array = mol.atom_charges().astype(float)
    for orbitals, numbers in zip(coefficients, filled, strict=True):
        occupied = orbitals[:, numbers > 0]
        if not occupied.shape[1]:
            continue
        intrinsic = lo.orth.vec_lowdin(lo.iao.iao(mol, occupied, MINIMAL_BASIS), overlap)
        shares = (intrinsic.T @ overlap @ occupied) ** 2 @ numbers[numbers > 0]
        charges -= [shares[first:last].sum() for _, _, first, last in atoms]
    return charges


def hirshfeld_charges(field: Any, method: Method) -> Array:
    """q_A = Z_A − ∫ρ ρ_A⁰ / Σ_B ρ_B⁰, e, shape (atoms,).

    ρ_A⁰ is the spherical ground state of the neutral atom at the same level of theory, see `isolated_density`. The
    populations are scaled to the number of electrons, which the grid misses slightly.
    Source: Hirshfeld, Theor. Chim. Acta 44, 129, 1977.

    :param field: a field that has run.
    :param method: level of theory and basis.
    """
    mol, matrix = field.mol, total_density_matrix(field)
    atoms = [isolated_density(int(number), method) for number in mol.atom_charges()]
    grid = dft.gen_grid.Grids(mol)
    grid.level = HIRSHFELD_GRID_LEVEL
    grid.build(sort_grids=False)
    populations = np.zeros(mol.natm)
    for start in range(0, len(grid.weights), _BLOCK):
        points, weights = grid.coords[start : start + _BLOCK], grid.weights[start : start + _BLOCK]
        density = weights * dft.numint.eval_rho(mol, mol.eval_gto("GTOval_sph", points), matrix)
        free = np.stack(
            [
                dft.numint.eval_rho(atom, atom.eval_gto("GTOval_sph", points - centre), isolated)
                for (atom, isolated), centre in zip(atoms, mol.atom_coords(), strict=True)
            ]
        )
        total = free.sum(axis=0)  # 0 far from all atoms, where the density is 0 too
        populations += (free / np.where(total > 0, total, 1.0)) @ density
    charges: Array = mol.atom_charges() - populations * mol.nelectron / populations.sum()
    return charges
