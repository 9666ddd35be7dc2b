"""How a trial runs: training with exact resume, checkpoints, devices, prediction.

Begin with `training.py`: `train` takes a trial, its data and a recorder, and needs only torch, e3nn and pyarrow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
