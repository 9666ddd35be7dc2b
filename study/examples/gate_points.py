"""A network that this project did not write, for `network.define`: e3nn's `gate_points_2101` on a data set's edges.

Its own forward finds neighbours and their harmonics anew at every step. Its layers take edges, so here they are given
those of the graph, which were computed once. They state their irreps: so they are traced, and nothing of them changed.
"""

from typing import Any

from e3nn import o3
from e3nn.nn.models import gate_points_2101
from torch import Tensor
from torch.nn import Module

from tesseral.study import configuration


class GatePoints(Module):
    """Gated convolutions whose linear maps, too, have weights for each element.

    :param settings: the `network` section of the study file, its hidden irreps as text.
    :param elements: number of elements.
    :param irreps_out: what is predicted for each atom.
    :param num_neighbors: messages are divided by its square root.
    """

    def __init__(
        self, settings: configuration.Network, *, elements: int, irreps_out: o3.Irreps, num_neighbors: float
    ) -> None:
        super().__init__()
        one_hot = o3.Irreps([(elements, "0e")])
        network = gate_points_2101.Network(
            irreps_in=one_hot,
            irreps_hidden=o3.Irreps(settings.hidden.irreps),
            irreps_out=irreps_out,
            irreps_node_attr=one_hot,
            irreps_edge_attr=o3.Irreps.spherical_harmonics(settings.harmonics_lmax),
            layers=settings.layers,
            max_radius=settings.radial_cutoff,
            number_of_basis=settings.radial_functions,
            radial_layers=settings.radial_layers,
            radial_neurons=settings.radial_width,
            num_neighbors=num_neighbors,
            num_nodes=1.0,  # of no use: outputs are not added up
        )
        self.layers = network.layers

    def forward(self, graph: Any) -> Tensor:
        """(atoms, irreps_out.dim).

        :param graph: `tesseral.networks.graph.Graph`.
        """
        features: Tensor = graph.elements
        for layer in self.layers:
            features = layer(features, graph.elements, graph.source, graph.destination, graph.harmonics, graph.radial)
        return features
