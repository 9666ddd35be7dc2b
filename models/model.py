"""What a trial trains: a network and the target that its outputs stand for."""

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.graph import Graph
from tesseral.models.network import build_network
from tesseral.models.target import DensityTarget
from tesseral.study.configuration import Configuration

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Model(Module):
    """From a graph to the auxiliary coefficients of its density."""

    def __init__(self, network: Module, target: DensityTarget) -> None:
        super().__init__()
        self.network = network
        self.target = target

    def forward(self, graph: Graph) -> Tensor:
        """(atoms, columns of the basis's layout), electron · bohr^(−3/2)."""
        return self.target(self.network(graph), graph.species)


def build_model(configuration: Configuration, basis: AuxiliaryBasis, *, num_neighbors: float, seed: int) -> Model:
    """An untrained model in float64 on the CPU; round it with `.to` once its target is fitted.

    :param num_neighbors: used if the configuration leaves it open.
    """
    settings = configuration.network
    network = build_network(settings, basis, num_neighbors=settings.num_neighbors or num_neighbors, seed=seed)
    return Model(network, DensityTarget(basis, configuration.target.scale))
