from .calculation.calculation import calculate, reference_basis
from .conventions import change_of_basis, from_irreps, to_irreps
from .exchange.cube import write_cube
from .exchange.extended_xyz import read_frames
from .exchange.frame_labels import import_frames
from .exchange.trimer_pickle import import_trimers
from .geometries.recipe_structures import structure_at, structures
from .structure import Structure

__all__ = [
    "Structure",
    "calculate",
    "change_of_basis",
    "from_irreps",
    "import_frames",
    "import_trimers",
    "read_frames",
    "reference_basis",
    "structure_at",
    "structures",
    "to_irreps",
    "write_cube",
]
