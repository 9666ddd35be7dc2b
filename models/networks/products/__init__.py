"""How couplings are computed: few large matrix products, or one fused operator, instead of an operation for each path.

Begin with `channel_product.py` (neighbours' features times harmonics; `backend.py` chooses how), `fusion_product.py`
(features along a tree) or `symmetric_contraction.py` (powers of features); the `…_plan.py` modules arrange their paths
without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
