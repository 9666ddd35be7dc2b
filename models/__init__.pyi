from .data.data_set import open_data_set
from .data.reference_file import Reference, read_reference
from .networks.network import Network, build_network
from .prediction.load import load
from .prediction.trained_model import TrainedModel
from .reference.structure import Structure
from .targets.model import Model, build_model
from .traces.features import trace_features
from .training.checkpoint import restore_model
from .training.prediction import predict_density
from .training.recorder import Recorder, Result
from .training.training import train

__all__ = [
    "Model",
    "Network",
    "Recorder",
    "Reference",
    "Result",
    "Structure",
    "TrainedModel",
    "build_model",
    "build_network",
    "load",
    "open_data_set",
    "predict_density",
    "read_reference",
    "restore_model",
    "trace_features",
    "train",
]
