"""What one trial trains: data, network, target, loss and training, with every default.

Begin with `configuration.py`, the whole; `trial.py` adds content and seeds, and gives the trial's id.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
