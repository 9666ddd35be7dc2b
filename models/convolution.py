"""The equivariant convolution: an atom gathers its neighbours' features, weighted by distance and direction."""

from itertools import pairwise
from math import cos, pi, sin

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, Parameter, ParameterList

from tesseral.models.channel_product import ChannelProduct
from tesseral.models.gate import normalized_silu
from tesseral.models.graph import Graph

_SELF, _NEIGHBOURS = sin(pi / 8), cos(pi / 8)  # their squares add up to 1, so the sum keeps its variance


class RadialNetwork(Module):
    """The tensor product's weights as a function of distance: w(r) = W_n … silu(W_1 φ(r)/√h_0) …/√h_n, no biases.

    :param sizes: radial functions, neurons of the hidden layers, weights.
    """

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes
        self.weights = ParameterList(Parameter(torch.randn(rows, columns)) for rows, columns in pairwise(sizes))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' -> '.join(map(str, self.sizes))})"

    def forward(self, radial: Tensor) -> Tensor:
        """(edges, sizes[0]) ↦ (edges, sizes[-1])."""
        *hidden, last = self.weights
        for weight in hidden:
            radial = normalized_silu(radial @ (weight * len(weight) ** -0.5))
        return radial @ (last * len(last) ** -0.5)


class Convolution(Module):
    """out_i = sin(π/8) C(x_i, z_i) + cos(π/8)/(E √num_neighbors) B Σ_j w(r_ij)·(A x_j ⊗ Y(r_ij)).

    C is linear in the features with weights of its own for each element z (the self-connection); A and B are
    linear; ⊗ is the tensor product with the edge's harmonics, one weight for each path and channel ('uvu').
    E is the number of elements. In the network cited, A and B are weighted by the one-hot of the element, and e3nn
    norms each by 1/√E; without that, one start in ten of a network with two elements is too large, and stays worse.
    An irrep that no self-connection reaches takes the neighbours' sum whole; one that nothing reaches is zero. After
    the convolution of e3nn's `gate_points_2101`, whose A and B depend on the element too.

    Features enter and leave in e3nn's layout.

    :param irreps_in: features of each atom.
    :param irreps_out: what is made of them.
    :param lmax: of the edges' harmonics.
    :param elements: length of the one-hot.
    :param radial: sizes of the radial network but the last: functions, then neurons of the hidden layers.
    :param num_neighbors: typical number of neighbours.
    """

    scale: Tensor
    keep: Tensor

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_out: o3.Irreps,
        *,
        lmax: int,
        elements: int,
        radial: list[int],
        num_neighbors: float,
    ) -> None:
        super().__init__()
        self.irreps_in = o3.Irreps(irreps_in)
        self.irreps_out = o3.Irreps(irreps_out)
        self.register_buffer("scale", torch.tensor(num_neighbors**-0.5 / elements))
        self.product = ChannelProduct(self.irreps_in, lmax, self.irreps_out)
        self.reaches = bool(self.product.paths)
        if not self.reaches:
            return
        self.self_connection = o3.FullyConnectedTensorProduct(
            self.irreps_in, o3.Irreps([(elements, "0e")]), self.irreps_out
        )
        self.before = o3.Linear(self.irreps_in, self.irreps_in)
        self.radial = RadialNetwork([*radial, self.product.weight_numel])
        self.after = o3.Linear(self.product.irreps_out.simplify(), self.irreps_out)
        shared = self.self_connection.output_mask
        self.register_buffer("keep", torch.where(shared > 0, _NEIGHBOURS, 1.0), persistent=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, edges {self.product.irreps_edge})"

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        if not self.reaches:
            return features.new_zeros(len(features), self.irreps_out.dim)
        sent = self.before(features).index_select(0, graph.source)
        messages = self.product(sent, graph.harmonics, self.radial(graph.radial))
        sums = [
            part.new_zeros(len(features), *part.shape[1:]).index_add(0, graph.destination, part) for part in messages
        ]
        gathered = self.product.arrange(sums) * self.scale
        return _SELF * self.self_connection(features, graph.elements) + self.keep * self.after(gathered)
