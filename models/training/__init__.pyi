from .checkpoint import Checkpoint, read_checkpoint, restore_model
from .numerics import NUMERICS
from .prediction import predict_density
from .recorder import DivergedError, Recorder, Result
from .timed_step import Step, measure_step
from .training import train

__all__ = [
    "NUMERICS",
    "Checkpoint",
    "DivergedError",
    "Recorder",
    "Result",
    "Step",
    "measure_step",
    "predict_density",
    "read_checkpoint",
    "restore_model",
    "train",
]
