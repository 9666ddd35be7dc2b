"""Which couplings of irreps exist, and which of them are independent: exact, and without torch.

Begin with `selection_rules.py` for single products and `fusion_paths.py` for whole trees; `independence.py` decides by
exact arithmetic which paths of a tree are linearly independent.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
