from .convolution import Convolution
from .cormorant import CormorantLayer
from .fusion_block import EdgeSum, FusionBlock
from .gated import GatedLayer
from .layer import Layer, Residual
from .layer_fusion import LayerFusion
from .mace import MaceLayer
from .messages import Messages, RadialNetwork
from .nonlinearity import Gate, Saturation

__all__ = [
    "Convolution",
    "CormorantLayer",
    "EdgeSum",
    "FusionBlock",
    "Gate",
    "GatedLayer",
    "Layer",
    "LayerFusion",
    "MaceLayer",
    "Messages",
    "RadialNetwork",
    "Residual",
    "Saturation",
]
