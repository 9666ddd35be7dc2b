"""ε of a density fit by PySCF and NumPy alone, sharing no code with tesseral: golden values for the tests.

`python -m tests.support.golden_fit_errors` prints them on two grids.

The field is RHF/STO-3G; the fit has the primitives of def2-universal-jfit, the Coulomb metric and the right charge.
Its integrals come from `df.incore.aux_e2`, its multiplier from one bordered system of equations, and both densities are
evaluated on PySCF's Becke grid, each function by itself.
"""

import sys

import numpy as np
from pyscf import df, dft, gto, scf

MOLECULES = {
    "formamide": """C 0.00 0.41 0.02; O 1.20 0.24 -0.03; N -0.93 -0.56 0.05; H -0.42 1.43 0.06; H -1.90 -0.32 0.01;
                    H -0.66 -1.52 0.08""",
    "fluoromethane": "C 0.00 0.02 0.65; F 0.05 0.00 -0.73; H 1.02 0.03 1.00; H -0.50 0.91 0.99; H -0.53 -0.88 1.01",
    "thioformaldehyde": "C 0.00 0.01 0.00; S 1.61 0.03 0.02; H -0.57 0.93 0.05; H -0.56 -0.94 -0.06",
}
"""Coordinates in Å, a little off each equilibrium, and off every symmetry."""


def field_of(name: str) -> scf.hf.RHF:
    return scf.RHF(gto.M(atom=MOLECULES[name], basis="STO-3G", verbose=0)).run(conv_tol=1e-12)


def primitives_of(mol: gto.Mole) -> gto.Mole:
    """The auxiliary molecule, each different primitive of def2-universal-jfit a function of its own."""
    basis = {}
    for symbol in {mol.atom_pure_symbol(atom) for atom in range(mol.natm)}:
        shells = gto.basis.load("def2-universal-jfit", symbol)
        unique = sorted({(shell[0], -line[0]) for shell in shells for line in shell[1:]})
        basis[symbol] = [[order, [-exponent, 1.0]] for order, exponent in unique]
    return gto.M(atom=mol._atom, unit="Bohr", basis=basis, spin=None, verbose=0)


def fit(mol: gto.Mole, density_matrix: np.ndarray, auxiliary: gto.Mole) -> np.ndarray:
    """Solve [[M, q], [qᵀ, 0]] (c, −λ) = (b, N)."""
    projection = np.einsum("ijp,ji->p", df.incore.aux_e2(mol, auxiliary, "int3c2e"), density_matrix)
    charges = np.zeros(auxiliary.nao)
    for shell, start in enumerate(auxiliary.ao_loc[:-1]):
        if auxiliary.bas_angular(shell) == 0:  # a normalised s Gaussian: ∫ (2a/π)^¾ exp(−a r²) = (2π/a)^¾
            charges[start] = (2 * np.pi / auxiliary.bas_exp(shell)[0]) ** 0.75
    bordered = np.block([[auxiliary.intor("int2c2e"), charges[:, None]], [charges[None], np.zeros((1, 1))]])
    return np.linalg.solve(bordered, np.append(projection, mol.nelectron))[:-1]


def epsilon(mol: gto.Mole, density_matrix: np.ndarray, auxiliary: gto.Mole, fitted: np.ndarray, level: int) -> float:
    """100 ∫|ρ_fit − ρ| / ∫ρ, percent.

    :param fitted: in PySCF's order and axes.
    """
    grid = dft.Grids(mol)
    grid.level = level
    grid.build()
    orbitals = dft.numint.eval_ao(mol, grid.coords)
    exact = np.einsum("gi,ij,gj->g", orbitals, density_matrix, orbitals, optimize=True)
    approximate = dft.numint.eval_ao(auxiliary, grid.coords) @ fitted
    return 100 * float(grid.weights @ np.abs(approximate - exact)) / float(grid.weights @ exact)


def main() -> None:
    for name in MOLECULES:
        field = field_of(name)
        auxiliary = primitives_of(field.mol)
        fitted = fit(field.mol, field.make_rdm1(), auxiliary)
        values = [epsilon(field.mol, field.make_rdm1(), auxiliary, fitted, level) for level in (3, 6)]
        sys.stdout.write(f"{name}: level 3 {values[0]:.6f} %, level 6 {values[1]:.6f} %\n")


if __name__ == "__main__":
    main()
