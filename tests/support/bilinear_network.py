"""A network as a user may write it against e3nn alone: the neighbours' harmonics, gathered and multiplied together."""

from e3nn import nn, o3
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import silu

from tesseral.models.networks.graph import Graph
from tesseral.study import configuration


class Bilinear(Module):
    """Its forward reads irreps, as many do."""

    def __init__(
        self, settings: configuration.Network, *, elements: int, irreps_out: o3.Irreps, num_neighbors: float
    ) -> None:
        super().__init__()
        self.irreps_gathered = o3.Irreps(settings.hidden.irreps)
        self.irreps_out, self.num_neighbors = irreps_out, num_neighbors
        self.send = o3.FullyConnectedTensorProduct(
            o3.Irreps([(elements, "0e")]),
            o3.Irreps.spherical_harmonics(settings.harmonics_lmax),
            self.irreps_gathered,
            shared_weights=False,
        )
        self.radial = nn.FullyConnectedNet([settings.radial_functions, self.send.weight_numel], silu)
        self.multiply = o3.FullyConnectedTensorProduct(self.irreps_gathered, self.irreps_gathered, irreps_out)

    def forward(self, graph: Graph) -> Tensor:
        messages = self.send(graph.elements[graph.source], graph.harmonics, self.radial(graph.radial))
        gathered = messages.new_zeros(len(graph.species), self.irreps_gathered.dim)
        gathered = gathered.index_add(0, graph.destination, messages) / self.num_neighbors**0.5
        return self.multiply(gathered, gathered)
