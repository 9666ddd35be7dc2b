"""The geometries of a recipe's structures: water clusters, displaced molecules, frames of files, given molecules.

Begin with `recipe_structures.py`; `expected_shape.py` predicts the shape of the data for planning.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
