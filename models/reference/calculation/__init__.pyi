from .auxiliary_density import AuxiliaryDensity, from_pyscf, load_density, to_pyscf
from .calculation import calculate, reference_basis
from .normal_modes import Vibrations, vibrations

__all__ = [
    "AuxiliaryDensity",
    "Vibrations",
    "calculate",
    "from_pyscf",
    "load_density",
    "reference_basis",
    "to_pyscf",
    "vibrations",
]
