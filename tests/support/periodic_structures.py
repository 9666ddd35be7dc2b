"""Periodic structures with energies, forces and stresses of a pair potential, summed over the images by ASE."""

import numpy as np
from ase import Atoms
from ase.calculators.morse import MorsePotential

from tesseral.models.data.reference_file import Reference
from tesseral.models.reference.conventions import to_irreps
from tesseral.study.constants import BOHR
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.parsing.units import HARTREE
from tests.support.synthetic_properties import property_table

CELL = np.array([[3.07, 0.1, 0.0], [0.2, 3.3, -0.1], [0.0, 0.3, 2.9]])
"""Å. Its shortest vector is shorter than the cutoff of the networks of these tests: atoms are their own neighbours."""
PLACES = np.array([[0.1, 0.2, 0.0], [1.5, 1.3, 0.3], [0.4, 1.6, 1.74]])
"""Å."""
NUMBERS = (8, 1, 1)


def repeated(cell: np.ndarray, places: np.ndarray, times: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A supercell: its cell, and the places of its atoms, cell by cell, the first ones those of the cell."""
    shifts = np.array(list(np.ndindex(*times))) @ cell
    return cell * np.array(times)[:, None], (shifts[:, None] + places).reshape(-1, 3)


def atoms(seed: int) -> Atoms:
    """A cell of three atoms, strained and displaced."""
    generator = np.random.default_rng(seed)
    cell = CELL @ (np.eye(3) + 0.04 * generator.normal(size=(3, 3)))
    moved = PLACES + 0.1 * generator.normal(size=PLACES.shape)
    return Atoms(NUMBERS, moved @ np.linalg.solve(CELL, cell), cell=cell, pbc=True)


def labelled(seed: int) -> Atoms:
    """The same atoms with a calculator of a Morse potential, eV and Å."""
    found = atoms(seed)
    found.calc = MorsePotential(epsilon=0.3, r0=2.0, rho0=3.0, rcut1=4.0, rcut2=5.0)
    found.get_stress()  # computes all, so that a file can hold them
    return found


def periodic_row(seed: int) -> dict:
    """A row of reference data."""
    found = labelled(seed)
    stress, _ = to_irreps(found.get_stress(voigt=False), parse_irreps("0e+2e"), 2)
    return {
        "id": f"cell-{seed}",
        "atomic_numbers": list(NUMBERS),
        "positions": found.positions.tolist(),
        "cell": found.cell.array.tolist(),
        "charge": 0,
        "converged": True,
        "energy": found.get_potential_energy() / HARTREE,
        "forces": (found.get_forces() / HARTREE * BOHR).tolist(),
        "stress": (stress / HARTREE * BOHR**3).tolist(),
    }


def periodic_reference(structures: int = 12) -> Reference:
    """Reference data of cells alone."""
    rows = [periodic_row(seed) for seed in range(structures)]
    return property_table([row | {"label.strain": None, "label.shift": None} for row in rows])
