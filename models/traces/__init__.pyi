from .ablation import ablate
from .features import Feature, measure_features, trace_features
from .layers import Layers, find_layers
from .tracer import Measurement, Tracer

__all__ = [
    "Feature",
    "Layers",
    "Measurement",
    "Tracer",
    "ablate",
    "find_layers",
    "measure_features",
    "trace_features",
]
