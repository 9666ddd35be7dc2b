"""The networks: what they are built of (`layers/`, `products/`, `paths/`), and what they cost and reach (`sizing/`).

Begin with `network.py`, the configurable network, and `graph.py`, its input. A network of your own is loaded by
`user_network.py` and checked by the suite in `testing.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
