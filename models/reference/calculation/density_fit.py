"""Density fitting: a field's density as Σ_P c_P χ_P(r) of auxiliary functions, with the right number of electrons."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto, lib
from pyscf.data.elements import ELEMENTS
from scipy import linalg

from tesseral.models.density.auxiliary_basis import Shell
from tesseral.models.reference.conventions import change_of_basis

FIT_ERROR_GRID_LEVEL = 3
"""PySCF's level of the Becke grid on which a fit is compared with its density: finer grids change ε by less than 0.5 %
of itself."""
LINEAR_DEPENDENCE = 1e-12
"""Where the metric is numerically singular, combinations of functions below this relative eigenvalue are left out."""
_BLOCK = 4096  # grid points evaluated at once: 1,000 functions on them take 33 MB


def auxiliary_molecule(
    shells: Mapping[int, Sequence[Shell]],
    atomic_numbers: Sequence[int],
    positions: NDArray[np.float64],
) -> gto.Mole:
    """The auxiliary functions as the basis of a PySCF molecule, shells in the order given.

    :param shells: by atomic number.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    """
    basis = {
        ELEMENTS[number]: [
            [shell.l, *([a, d] for a, d in zip(shell.exponents, shell.coefficients, strict=True))]
            for shell in shells[number]
        ]
        for number in set(atomic_numbers)
    }
    atoms = [(ELEMENTS[n], tuple(r)) for n, r in zip(atomic_numbers, positions, strict=True)]
    return gto.M(atom=atoms, unit="Angstrom", basis=basis, spin=None, verbose=0)


def e3nn_rotation(auxiliary: gto.Mole) -> NDArray[np.float64]:
    """Q with c^e3nn = Q c^PySCF and χ^e3nn = Q χ^PySCF, orthogonal, shape (functions, functions).

    PySCF stores p shells as x, y, z, which is e3nn's order, but all others as m = −l, …, l about the z axis.

    :param auxiliary: from `auxiliary_molecule`.
    """
    orders = [auxiliary.bas_angular(index) for index in range(auxiliary.nbas)]
    result: NDArray[np.float64] = linalg.block_diag(
        *(np.eye(3) if order == 1 else change_of_basis(order) for order in orders)
    )
    return result


def packed_overlap(auxiliary: gto.Mole) -> NDArray[np.float64]:
    """Lower triangle by rows of the overlap S_PQ = ∫χ_P χ_Q in e3nn's order, shape (n(n+1)/2,).

    :param auxiliary: from `auxiliary_molecule`.
    """
    rotation = e3nn_rotation(auxiliary)
    overlap = rotation @ auxiliary.intor("int1e_ovlp") @ rotation.T
    result: NDArray[np.float64] = overlap[np.tril_indices_from(overlap)]
    return result


def function_charges(shells: Mapping[int, Sequence[Shell]], atomic_numbers: Sequence[int]) -> NDArray[np.float64]:
    """q_P = ∫χ_P of each function, bohr^(3/2), shape (functions,); zero except for s shells.

    :param shells: by atomic number.
    :param atomic_numbers: one of each atom.
    """
    functions = [shell for number in atomic_numbers for shell in shells[number] for _ in range(2 * shell.l + 1)]
    return np.array([shell.charge for shell in functions])


def fit_density(
    molecule: gto.Mole,
    density_matrix: NDArray[np.float64],
    auxiliary: gto.Mole,
    charges: NDArray[np.float64],
    metric: str,
    constrain: bool = True,
) -> NDArray[np.float64]:
    r"""Coefficients c that minimise (ρ − Σ c_P χ_P | ρ − Σ c_P χ_P) with Σ_P c_P ∫χ_P = electrons.

    The Coulomb metric (Dunlap, Connolly & Sabin, J. Chem. Phys. 71, 3396, 1979) makes the error of the self-repulsion
    quadratic in that of the density; the overlap metric minimises the L2 error itself.

    With M_PQ = (χ_P|χ_Q), b_P = (χ_P|ρ), q_P = ∫χ_P and a Lagrange multiplier λ for the charge,

        M c = b + λ q,    λ = (electrons − q·M⁻¹b) / (q·M⁻¹q).

    :param molecule: atoms and orbital basis.
    :param density_matrix: density matrix of all electrons, shape (orbitals, orbitals).
    :param auxiliary: the same atoms with the auxiliary functions.
    :param charges: q, from `function_charges`.
    :param metric: `coulomb`: (f|g) = ∫∫ f(r) g(r') / |r − r'|; `overlap`: (f|g) = ∫ f g.
    :param constrain: whether the charge is constrained; False: λ = 0.
    :returns: c in PySCF's order and axes, electron · bohr^(−3/2), shape (functions,).
    """
    two_centre, three_centre = {"coulomb": ("int2c2e", "int3c2e"), "overlap": ("int1e_ovlp", "int3c1e")}[metric]
    # Integrals are symmetric in the orbital pair, so each off-diagonal pair counts twice in the packed triangle.
    weights = lib.pack_tril(density_matrix + density_matrix.T - np.diag(density_matrix.diagonal()))
    # PySCF takes integrals over two bases from one molecule with the shells of both; `shls_slice` tells them apart.
    both = molecule + auxiliary
    projection = np.concatenate(
        [  # atom by atom, so that only the integrals of one atom's functions are in memory
            weights
            @ both.intor(
                three_centre,
                aosym="s2ij",
                shls_slice=(0, molecule.nbas, 0, molecule.nbas, molecule.nbas + start, molecule.nbas + stop),
            )
            for start, stop, _, _ in auxiliary.aoslice_by_atom()
        ]
    )
    free, response = _solve(auxiliary.intor(two_centre), np.stack([projection, charges], axis=1)).T
    multiplier = (molecule.nelectron - charges @ free) / (charges @ response) if constrain else 0.0
    result: NDArray[np.float64] = free + multiplier * response
    return result


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        solution: NDArray[np.float64] = linalg.cho_solve(linalg.cho_factor(matrix), right)
    except linalg.LinAlgError:  # rich bases of large molecules: leave out combinations that nearly vanish
        values, vectors = linalg.eigh(matrix)
        kept = values > LINEAR_DEPENDENCE * values[-1]
        solution = vectors[:, kept] @ (vectors[:, kept].T @ right / values[kept, None])
    return solution


def self_repulsion_error(auxiliary: gto.Mole, coefficients: NDArray[np.float64], exact: float) -> float:
    """100 · (J_fit − J) / J, percent, with J_fit = ½ Σ_PQ c_P (χ_P|χ_Q) c_Q.

    :param auxiliary: from `auxiliary_molecule`.
    :param coefficients: c in PySCF's order and axes, shape (functions,).
    :param exact: J of the field's density, hartree.
    """
    fitted = 0.5 * float(coefficients @ auxiliary.intor("int2c2e") @ coefficients)
    return 100 * (fitted - exact) / exact


def fit_error(
    molecule: gto.Mole,
    density_matrix: NDArray[np.float64],
    auxiliary: gto.Mole,
    coefficients: NDArray[np.float64],
) -> float:
    """ε of the fit, 100 · Σ_g w_g |ρ_fit(r_g) − ρ(r_g)| / Σ_g w_g ρ(r_g) on a Becke grid, percent.

    :param molecule: atoms and orbital basis.
    :param density_matrix: density matrix of all electrons, shape (orbitals, orbitals).
    :param auxiliary: the same atoms with the auxiliary functions.
    :param coefficients: c in PySCF's order and axes, shape (functions,).
    """
    grid = dft.gen_grid.Grids(molecule)
    grid.level = FIT_ERROR_GRID_LEVEL
    grid.build(sort_grids=False)
    difference = total = 0.0
    for start in range(0, len(grid.weights), _BLOCK):
        points, weights = grid.coords[start : start + _BLOCK], grid.weights[start : start + _BLOCK]
        density = dft.numint.eval_rho(molecule, molecule.eval_gto("GTOval_sph", points), density_matrix)
        fitted = auxiliary.eval_gto("GTOval_sph", points) @ coefficients
        difference += float(weights @ np.abs(fitted - density))
        total += float(weights @ density)
    return 100 * difference / total
