from .data_set_summary import describe, summarise
from .densities import Density, Molecule, predicted_density, read_molecule, stored_density
from .imports import Import, import_mapping, import_pickle
from .recipe_run import inline, run_recipe

__all__ = [
    "Density",
    "Import",
    "Molecule",
    "describe",
    "import_mapping",
    "import_pickle",
    "inline",
    "predicted_density",
    "read_molecule",
    "run_recipe",
    "stored_density",
    "summarise",
]
