"""What is predicted, minimised and judged: from a network's outputs on the atoms to predictions, losses and metrics.

Begin with `target.py`, the contract; `model.py` joins a network and the target that a configuration asks for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
