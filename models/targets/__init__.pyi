from .density import DensityTarget
from .forces import EnergyForces, ForceTarget
from .metrics import evaluation_batches, measure, measure_densities
from .model import Model, build_model, build_target
from .property import DipoleTarget, PropertyTarget
from .target import Loss, Target, Value

__all__ = [
    "DensityTarget",
    "DipoleTarget",
    "EnergyForces",
    "ForceTarget",
    "Loss",
    "Model",
    "PropertyTarget",
    "Target",
    "Value",
    "build_model",
    "build_target",
    "evaluation_batches",
    "measure",
    "measure_densities",
]
