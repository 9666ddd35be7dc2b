"""Where the data come from: structures, reference calculations by PySCF, and files of other programs.

Begin with `calculation/`, a structure in and a row of reference data out; `geometries/` has the structures of a recipe,
`exchange/` imports and exports, `conventions.py` the change to e3nn's order, axes and normalisation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
