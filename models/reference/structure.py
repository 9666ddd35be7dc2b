"""A molecular structure: atoms in space, with a charge and a spin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Structure:
    """Atoms in space."""

    id: str
    """Unique in its file, such as `dimer-0007`."""
    atomic_numbers: tuple[int, ...]
    positions: NDArray[np.float64]
    """Shape (atoms, 3), Å."""
    charge: int = 0
    """Total charge, e."""
    spin: int = 0
    """Unpaired electrons."""
