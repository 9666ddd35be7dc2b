from .load import load
from .trained_model import TrainedModel

__all__ = [
    "TrainedModel",
    "load",
]
