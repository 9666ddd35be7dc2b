from .auxiliary_basis import AuxiliaryBasis, Shell
from .coulomb import coulomb_matrix
from .density import density_on_points, epsilon_by_order
from .errors import DensityErrors, density_errors
from .multipoles import moments
from .potential import potential_on_points, shell_of_points
from .quadrature import Grid, Quadrature, atom_grid
from .uniform_grid import COARSE, CubeGrid, cube_grid

__all__ = [
    "COARSE",
    "AuxiliaryBasis",
    "CubeGrid",
    "DensityErrors",
    "Grid",
    "Quadrature",
    "Shell",
    "atom_grid",
    "coulomb_matrix",
    "cube_grid",
    "density_errors",
    "density_on_points",
    "epsilon_by_order",
    "moments",
    "potential_on_points",
    "shell_of_points",
]
