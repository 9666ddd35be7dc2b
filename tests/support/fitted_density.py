"""Fitted Hartree-Fock densities, and the same with errors in their coefficients."""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from pyscf import gto
from pyscf.data.elements import ELEMENTS

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.density_fit import (
    auxiliary_molecule,
    e3nn_rotation,
    fit_density,
    function_charges,
)
from tesseral.study.constants import BOHR

WATER = [[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]
"""O, H, H; Å."""


class Fit(NamedTuple):
    """The arguments of `epsilon_by_order`, but for the grid."""

    basis: AuxiliaryBasis
    numbers: tuple[int, ...]
    positions: torch.Tensor
    other: list[torch.Tensor]
    reference: list[torch.Tensor]


@cache
def fitted(numbers: tuple[int, ...], rows: tuple[tuple[float, ...], ...]) -> Fit:
    """:param rows: positions, Å."""
    positions = torch.tensor(rows, dtype=torch.float64)
    shells = {z: auxiliary_shells(z, "def2-universal-jfit", True) for z in sorted(set(numbers))}
    basis = AuxiliaryBasis("jfit", shells)
    atoms = [(ELEMENTS[z], row) for z, row in zip(numbers, rows, strict=True)]
    molecule = gto.M(atom=atoms, basis="def2-svp", verbose=0)
    auxiliary = auxiliary_molecule(shells, numbers, positions.numpy())
    matrix = molecule.RHF().run().make_rdm1()
    fit = fit_density(molecule, matrix, auxiliary, function_charges(shells, numbers), "coulomb")
    sizes = [basis.size(number) for number in numbers]
    reference = torch.from_numpy(e3nn_rotation(auxiliary) @ fit).split(sizes)
    errors = torch.randn(sum(sizes), dtype=torch.float64, generator=torch.Generator().manual_seed(8)).split(sizes)
    return Fit(
        basis,
        numbers,
        positions,
        [c + 1e-3 * error for c, error in zip(reference, errors, strict=True)],
        list(reference),
    )


def water() -> Fit:
    return fitted((8, 1, 1), tuple(map(tuple, WATER)))


def hydrogen_sulfide() -> Fit:
    return fitted((16, 1, 1), ((0.11, 0.0, 0.2), (1.03, 0.73, 0.63), (-0.72, 0.59, 1.01)))


def methyl_chloride() -> Fit:
    return fitted(
        (6, 17, 1, 1, 1),
        ((0.0, 0.0, -1.12), (0.1, 0.0, 0.66), (1.03, 0.0, -1.46), (-0.515, 0.892, -1.46), (-0.515, -0.892, -1.46)),
    )


def by_pyscf(fit: Fit, coefficients: list[torch.Tensor], points: np.ndarray) -> np.ndarray:
    """ρ by PySCF's own auxiliary functions; points in Å."""
    auxiliary = auxiliary_molecule(fit.basis.shells, fit.numbers, fit.positions.numpy())
    vector = e3nn_rotation(auxiliary).T @ torch.cat(coefficients).numpy()
    parts = np.array_split(points / BOHR, max(1, len(points) // 8192))
    return np.concatenate([auxiliary.eval_gto("GTOval_sph", part) @ vector for part in parts])
