"""What a network's layers are made of: convolutions, gates, products of features, fusion diagrams.

Begin with `layer.py`, the interface, and `gated.py`, the simplest kind; `cormorant.py` and `mace.py` are the others.
They share `messages.py`, what an atom gathers from its neighbours, and `layer_fusion.py`, a diagram beside a layer.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
