"""Trained models in use: loaded from a storage, applied to molecules of any program, compared with labels.

Begin with `trained_model.py`; `load.py` makes one of a trial's records.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
