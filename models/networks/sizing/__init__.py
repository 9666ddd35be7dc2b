"""What a network costs and reaches, before it is built: parameters, FLOPs, unreachable outputs, dead hidden irreps.

Begin with `size.py` and `reach.py`. Both read a *blueprint* (`blueprint.py`): the network as symbolic parts, each of
which states the irreps it produces, the inputs it depends on and its size; `architecture.py` makes it from a
configuration. `probe.py` measures a user's own network by running it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
