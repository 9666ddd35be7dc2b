"""Electric multipoles of a self-consistent field, from its density matrix by PySCF's integrals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyscf import gto, lib

from tesseral.models.density.multipoles import ORDERS, harmonic_tensors

Array = NDArray[np.float64]

_INTEGRALS = ("int1e_ovlp", "int1e_r", "int1e_rr", "int1e_rrr")
_POWERS = ("a->", "a,ai->i", "a,ai,aj->ij", "a,ai,aj,ak->ijk")


class FieldMoments(NamedTuple):
    """Multipoles and extent of a field, about its centre of nuclear charge."""

    centre: Array
    """Centre of nuclear charge C, Å, shape (3,)."""
    multipoles: dict[int, Array]
    """l → Q_lm about C, nuclei included, e · bohr^l, shape (2l+1,)."""
    extent: float
    """⟨r²⟩ = ∫ρ(r) |r − C|² dr of the electrons, bohr²."""


def field_moments(mol: gto.Mole, density_matrix: Array) -> FieldMoments:
    r"""Q_lm = Σ_A Z_A C_lm(R_A − C) − Σ_μν D_μν ⟨μ|C_lm(r − C)|ν⟩ for l = 0…3, about the centre of nuclear charge C.

    C_lm = T_lm · r^l are the harmonics of `tesseral.models.density.multipoles.moments`, so that a density's multipoles
    and its field's compare. T is contracted with the integrals of 1, x_i, x_i x_j and x_i x_j x_k.

    :param mol: atoms and orbital basis.
    :param density_matrix: density matrix of all electrons, shape (orbitals, orbitals).
    """
    charges, positions = mol.atom_charges().astype(float), mol.atom_coords()
    centre = charges @ positions / charges.sum()
    displacements = positions - centre
    multipoles, extent = {}, 0.0
    with mol.with_common_orig(centre):
        for order in ORDERS:
            nuclei = np.einsum(_POWERS[order], charges, *[displacements] * order, optimize=True)
            electrons = _electrons(mol, density_matrix, order)
            tensors = harmonic_tensors(order).numpy().reshape(2 * order + 1, -1)
            multipoles[order] = tensors @ (nuclei.ravel() - electrons)
            if order == 2:
                extent = float(electrons[::4].sum())  # xx, yy, zz of the nine
    return FieldMoments(centre * lib.param.BOHR, multipoles, extent)


def _electrons(mol: gto.Mole, density_matrix: Array, order: int) -> Array:
    """∫ρ x_i x_j … of `order` factors, shape (3^order,)."""
    total = np.zeros(3**order)
    # One atom's functions at a time: the integrals of all would take 27 matrices of orbitals² for the octupole.
    for start, stop, first, last in mol.aoslice_by_atom():
        shells = (start, stop, 0, mol.nbas)
        integrals = mol.intor(_INTEGRALS[order], comp=3**order, shls_slice=shells).reshape(3**order, last - first, -1)
        total += np.einsum("xij,ij->x", integrals, density_matrix[first:last])
    return total
