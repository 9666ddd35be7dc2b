"""A structure: what is calculated, imported or displaced. Which structures a recipe asks for:
`geometries/`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Structure:
    """Atoms in space, with a charge and a spin."""

    id: str
    """Name, unique in its file, such as `dimer-0007`."""
    atomic_numbers: tuple[int, ...]
    """Z of each atom."""
    positions: NDArray[np.float64]
    """Å, shape (atoms, 3)."""
    charge: int = 0
    """Total charge, e."""
    spin: int = 0
    """Number of unpaired electrons."""
    cell: NDArray[np.float64] | None = None
    """Å, shape (3, 3), lattice vectors as rows, of zeros where the structure does not repeat; None for a molecule."""
