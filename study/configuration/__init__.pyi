from .configuration import Configuration, Data, Training
from .network import Fusion, Hidden, Network
from .target import Loss, Target
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
