from .channel_product import ChannelProduct
from .fusion_product import FusionProduct
from .symmetric_contraction import SymmetricContraction

__all__ = ["ChannelProduct", "FusionProduct", "SymmetricContraction"]
