"""What a trial trains: a network and the target that its outputs stand for."""

from typing import Any

import torch
from torch.nn import Module

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis
from tesseral.models.networks.graph import Graph
from tesseral.models.networks.network import build_network
from tesseral.models.targets.density import DensityTarget
from tesseral.models.targets.forces import ForceTarget
from tesseral.models.targets.property import PropertyTarget
from tesseral.models.targets.target import Target
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import find_quantity

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Model(Module):
    """From a graph to what its target is: the coefficients of a density, an energy, a dipole."""

    def __init__(self, network: Module, target: Target) -> None:
        super().__init__()
        self.network = network
        self.target = target

    def forward(self, graph: Graph) -> Any:
        """The target's prediction, see `Target`; of the density (atoms, columns of the basis's layout)."""
        return self.target.predict(self.network, graph)


def build_target(configuration: Configuration, reference: Reference) -> Target:
    """The target of a configuration, before it is standardised, in float64 on the CPU.

    :param reference: what its elements, its auxiliary basis and its labels are read from.
    :raises DataError: if the density is asked for, and there is no auxiliary basis.
    :raises StudyFileError: if there is no such label, or no such order in the basis.
    """
    target = configuration.target
    quantity, elements = find_quantity(target.quantity, reference.labels), len(reference.elements)
    basis = chosen_basis(reference, target)
    if basis is not None:
        return DensityTarget(basis, target.scale)
    if quantity.pooling == "gradient":
        return ForceTarget(configuration.network, elements, target.scale)
    return PropertyTarget(quantity, elements, target.scale)


def build_model(configuration: Configuration, reference: Reference, *, num_neighbors: float, seed: int) -> Model:
    """An untrained model in float64 on the CPU; round it with `.to` once its target is standardised.

    :param reference: as for `build_target`.
    :param num_neighbors: used if the configuration leaves it open.
    """
    settings, target = configuration.network, build_target(configuration, reference)
    neighbors = settings.num_neighbors or num_neighbors
    elements = len(reference.elements)
    network = build_network(settings, elements, target.outputs, num_neighbors=neighbors, seed=seed)
    return Model(network, target)
