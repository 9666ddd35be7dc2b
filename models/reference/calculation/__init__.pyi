from .auxiliary_density import AuxiliaryDensity, to_pyscf
from .calculation import calculate, reference_basis
from .normal_modes import Vibrations, vibrations

__all__ = [
    "AuxiliaryDensity",
    "Vibrations",
    "calculate",
    "reference_basis",
    "to_pyscf",
    "vibrations",
]
