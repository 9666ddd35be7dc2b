from .displacements import displaced
from .expected_shape import recipe_shape
from .recipe_structures import count_structures, elements, structure_at, structures
from .water_clusters import water_cluster

__all__ = [
    "count_structures",
    "displaced",
    "elements",
    "recipe_shape",
    "structure_at",
    "structures",
    "water_cluster",
]
