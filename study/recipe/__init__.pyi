from .mapping import LabelSource, MappedReference, Mapping, Source, read_mapping
from .method import Method
from .recipe import Recipe, RecipeReference, read_recipe
from .structures import Displacements, Inline, WaterClusters, Xyz

__all__ = [
    "Displacements",
    "Inline",
    "LabelSource",
    "MappedReference",
    "Mapping",
    "Method",
    "Recipe",
    "RecipeReference",
    "Source",
    "WaterClusters",
    "Xyz",
    "read_mapping",
    "read_recipe",
]
