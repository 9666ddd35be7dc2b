"""Which reference data are made, and from what: recipes of calculations, and mappings of labels from other files.

Begin with `recipe.py`, or with `mapping.py` for data that exist already.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
