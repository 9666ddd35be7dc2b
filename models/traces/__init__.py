"""What the hidden features hold: size, rank, gradients and updates by layer, irrep and path; ablation at inference.

Begin with `tracer.py`, which a training calls; `layers.py` finds the layers of any network.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
