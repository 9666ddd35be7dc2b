from .configuration import Configuration, Data
from .network import Fusion, Hidden, Network
from .target import Loss, Target
from .training import Training
from .trial import Seeds, State, Traces, Trial

__all__ = [
    "Configuration",
    "Data",
    "Fusion",
    "Hidden",
    "Loss",
    "Network",
    "Seeds",
    "State",
    "Target",
    "Traces",
    "Training",
    "Trial",
]
