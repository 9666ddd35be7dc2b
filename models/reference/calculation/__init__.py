"""The reference calculation: a structure in, a row of reference data out. The one folder that imports PySCF.

Begin with `calculation.py`: it converges a field (`mean_field.py`), fits its density (`density_fit.py`) and collects
what follows. `normal_modes.py` finds minima and normal modes, `auxiliary_density.py` hands a density back to PySCF.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
