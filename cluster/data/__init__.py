"""Reference data on a storage: made by a recipe, imported, opened, summarised, and densities taken from them.

Begin with `references.py`, which opens them; `recipe_run.py` makes them, one sealed part for each structure.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
