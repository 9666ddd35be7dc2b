from .fusion_paths import paths
from .independence import multiplicity, same_functions
from .path import Leaf, Path, Vertex
from .selection_rules import Irrep, IrrepSet, harmonics, product, symmetric_power

__all__ = [
    "Irrep",
    "IrrepSet",
    "Leaf",
    "Path",
    "Vertex",
    "harmonics",
    "multiplicity",
    "paths",
    "product",
    "same_functions",
    "symmetric_power",
]
