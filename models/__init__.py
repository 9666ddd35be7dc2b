"""What is trained, on which data: networks, targets, densities, traces, training, and reference calculations.

Begin with `training/training.py`, which runs one trial, and `networks/network.py`, the network that it trains.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
