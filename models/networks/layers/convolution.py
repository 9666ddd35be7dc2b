"""The equivariant convolution: an atom's own features and its neighbours', linear in both."""

from math import cos, pi, sin

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.messages import Messages, reached

_SELF, _NEIGHBOURS = sin(pi / 8), cos(pi / 8)  # their squares add up to 1, so the sum keeps its variance


class Convolution(Module):
    """out_i = sin(π/8) C(x_i, z_i) + cos(π/8)/(E √num_neighbors) B Σ_j w(r_ij)·(A x_j ⊗ Y(r_ij)).

    C is linear in the features with weights of its own for each element z (the self-connection); the second term is
    `tesseral.models.networks.layers.messages`: A and B are linear, ⊗ is the tensor product with the edge's harmonics.
    E is the number of elements. In the network cited, A and B are weighted by the one-hot of the element, and e3nn
    norms each by 1/√E; without that, one start in ten of a network with two elements is too large, and stays worse.
    An irrep that no self-connection reaches takes the neighbours' sum whole; one that nothing reaches is zero. After
    the convolution of e3nn's `gate_points_2101`, whose A and B depend on the element too.

    Features enter and leave in e3nn's layout. If the messages reach nothing there is no self-connection either.

    :param irreps_in: features of each atom.
    :param irreps_out: what is made of them.
    :param lmax: of the edges' harmonics.
    :param elements: length of the one-hot.
    :param radial: sizes of the radial network but the last: functions, then neurons of the hidden layers.
    :param num_neighbors: typical number of neighbours.
    """

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
        made = reached(self.irreps_in, lmax)
        self.reaches = any(ir in made for _, ir in self.irreps_out)
        if self.reaches:  # before the messages: the order of the random draws is part of the numerics
            self.self_connection = o3.FullyConnectedTensorProduct(
                self.irreps_in, o3.Irreps([(elements, "0e")]), self.irreps_out
            )
            shared = self.self_connection.output_mask
            self.register_buffer("keep", torch.where(shared > 0, _NEIGHBOURS, 1.0), persistent=False)
        self.messages = Messages(
            self.irreps_in,
            self.irreps_out,
            lmax=lmax,
            radial=radial,
            num_neighbors=num_neighbors,
            elements=elements,
        )

    def __repr__(self) -> str:
        edges = self.messages.product.irreps_edge
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, edges {edges})"

    def forward(self, features: Tensor, graph: Graph, gathered: Tensor | None = None) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim).

        :param gathered: what `messages` return, where that is known.
        """
        if gathered is None:
            gathered = self.messages(features, graph)
        if not self.reaches:
            return gathered
        return _SELF * self.self_connection(features, graph.elements) + self.keep * gathered
