"""What a density is, and how two differ: auxiliary bases, values on points, moments, potentials, error measures.

Begin with `auxiliary_basis.py`, the representation; `density.py` has the density on points and ε, the published error.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
