"""Small networks of any kind, and a graph for them: six atoms without symmetry, of two elements."""

import torch
from torch import Tensor

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph
from tesseral.models.networks.network import Network, build_network
from tesseral.study import configuration
from tesseral.study.configuration.network import Hidden
from tesseral.study.parsing.irreps import parse_irreps

SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])
POSITIONS = 1.2 * torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
"""Å."""
OUTPUTS = "2x0e+1x0o+1x1e+2x1o+1x2e+1x3o+1x5o"


def asked(hidden: str, **changes) -> configuration.Network:
    return configuration.Network(
        hidden=Hidden(irreps=hidden), **({"layers": 2, "radial_functions": 6, "radial_width": 8} | changes)
    )


def built(settings: configuration.Network, seed: int = 0, elements: int = 2, outputs: str = OUTPUTS) -> Network:
    return build_network(settings, elements, parse_irreps(outputs), num_neighbors=4.0, seed=seed)


def graph(settings: configuration.Network, positions: Tensor = POSITIONS, species: Tensor = SPECIES) -> Graph:
    return build_graph(species, positions, 2, EdgeBasis.from_settings(settings))
