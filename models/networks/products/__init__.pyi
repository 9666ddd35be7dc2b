from .backend import choose_backend
from .block_linear import BlockLinear
from .channel_product import BACKENDS, ChannelProduct
from .element_linear import ElementLinear
from .fusion_product import FusionProduct
from .layout import from_blocks, to_blocks
from .symmetric_contraction import SymmetricContraction

__all__ = [
    "BACKENDS",
    "BlockLinear",
    "ChannelProduct",
    "ElementLinear",
    "FusionProduct",
    "SymmetricContraction",
    "choose_backend",
    "from_blocks",
    "to_blocks",
]
