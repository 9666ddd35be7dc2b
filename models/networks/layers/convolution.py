"""The equivariant convolution: a self-connection plus messages, linear in the features of atom and neighbours."""

from math import cos, pi, sin

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.messages import Messages, message_irreps
from tesseral.models.networks.layers.nonlinearity import Gate
from tesseral.models.networks.products.element_linear import ElementLinear
from tesseral.study import configuration

# Their squares add up to 1, so the sum of independent terms keeps its variance.
_SELF, _NEIGHBOURS = sin(pi / 8), cos(pi / 8)


class Convolution(Module):
    """Add a self-connection and messages:

        out_i = sin(π/8) C(x_i, z_i) + cos(π/8) m_i.

    C is linear with separate weights for each element z, and m are `Messages`. An irrep that only the messages reach
    takes them whole; an irrep that nothing reaches is zero. If the messages reach nothing, C is left out too.

    After the convolution of e3nn's `gate_points_2101`, in which the linear maps A and B of the messages have separate
    weights for each element too. e3nn normalises each of these by 1/√E for E elements. Here they do not depend on the
    element, but the division by E in `Messages` keeps that scale: without it, one in ten initialisations of a network
    with two elements starts too large, and stays worse.

    :param irreps_in: features of each atom.
    :param irreps_out: irreps of the result.
    :param settings: the `network` section, of which the harmonics and the radial network count.
    :param elements: number of elements E, the length of the one-hot.
    :param num_neighbors: typical number of neighbours.
    """

    keep: Tensor

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_out: o3.Irreps,
        settings: configuration.Network,
        *,
        elements: int,
        num_neighbors: float,
    ) -> None:
        super().__init__()
        self.irreps_in = o3.Irreps(irreps_in)
        self.irreps_out = o3.Irreps(irreps_out)
        reached = message_irreps(self.irreps_in, settings.harmonics_lmax)
        self._plans: dict[bool, str] = {}
        self.reaches = any(ir in reached for _, ir in self.irreps_out)
        if self.reaches:  # built before the messages: the order of random draws fixes the initialisation
            self.self_connection = ElementLinear(self.irreps_in, elements, self.irreps_out)
            # e3nn's mask is 1 where some path of the product reaches the component.
            shared = self.self_connection.output_mask
            self.register_buffer("keep", torch.where(shared > 0, _NEIGHBOURS, 1.0), persistent=False)
        self.messages = Messages(
            self.irreps_in, self.irreps_out, settings, elements=elements, num_neighbors=num_neighbors
        )

    def __repr__(self) -> str:
        edges = self.messages.product.irreps_edge
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, edges {edges})"

    def forward(
        self, features: Tensor, graph: Graph, gathered: Tensor | None = None, gate: Gate | None = None
    ) -> Tensor:
        """Add the self-connection to the messages.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :param gathered: the output of `messages`, (atoms, irreps_out.dim), if it was computed before.
        :param gate: applied to the sum.
        :returns: (atoms, irreps_out.dim), of the gate if there is one.
        """
        if gathered is None and self.reaches and self.messages.reaches and self.messages.fuses(features, graph):
            return self.messages.convolve(self._plan(gate), features, graph, self.self_connection.weight)
        if gathered is None:
            gathered = self.messages(features, graph)
        if self.reaches:
            gathered = _SELF * self.self_connection(features, graph.elements) + self.keep * gathered
        return gathered if gate is None else gate(gathered)

    def _plan(self, gate: Gate | None) -> str:
        """The text of what one operation computes, made once."""
        if (gate is not None) not in self._plans:
            plan, kept = self.messages.plan(), [float(self.keep[part][:1].sum()) for part in self.irreps_out.slices()]
            plan = plan._replace(
                after=[path._replace(scale=path.scale * kept[path.made]) for path in plan.after],
                own=[path._replace(scale=path.scale * _SELF) for path in self.self_connection.paths],
            )
            if gate is not None:
                plan = plan._replace(**gate.planned())
            self._plans[gate is not None] = plan.text()
        return self._plans[gate is not None]
