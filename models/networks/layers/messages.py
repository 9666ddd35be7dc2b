"""Messages: what an atom gathers from its neighbours, as a function of their features, distance and direction."""

from itertools import pairwise

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, Parameter, ParameterList

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.nonlinearity import FACTORS, normalized_silu
from tesseral.models.networks.layers.radial_table import interpolated, knots, places
from tesseral.models.networks.products.block_linear import BlockLinear
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.fused.convolution import ConvolutionPlan, Edges, convolve
from tesseral.models.networks.products.layout import from_blocks, to_blocks
from tesseral.study import configuration


class RadialNetwork(Module):
    """A multilayer perceptron without biases that makes the weights of a tensor product from radial functions:

        w(r) = W_n/√h_n silu(… silu(W_0/√h_0 φ(r))),

    with h_k the width that W_k acts on, and silu scaled to a second moment of 1.

    With a table it is computed at knots alone, and distances take its values there (`layers.radial_table`).

    :param sizes: number of radial functions, neurons of each hidden layer, number of weights.
    :param settings: the `network` section, which may ask for a table; None: none.
    """

    knots: Tensor | None

    def __init__(self, sizes: list[int], settings: configuration.Network | None = None) -> None:
        super().__init__()
        self.sizes, self.cutoff = sizes, settings.radial_cutoff if settings else 0.0
        self.register_buffer("knots", knots(settings) if settings else None, persistent=False)
        self.weights = ParameterList(Parameter(torch.randn(rows, columns)) for rows, columns in pairwise(sizes))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' -> '.join(map(str, self.sizes))})"

    def forward(self, radial: Tensor) -> Tensor:
        """The weights of each edge.

        :param radial: φ(r), (edges, sizes[0]); with a table r, (edges, 1).
        :returns: (edges, sizes[-1]).
        """
        if self.knots is not None:
            return interpolated(self._computed(self.knots), places(radial[:, 0], self.cutoff, self.knots.shape[0]))
        return self._computed(radial)

    def _computed(self, radial: Tensor) -> Tensor:
        *hidden, last = self.weights
        for weight in hidden:
            radial = normalized_silu(radial @ (weight * len(weight) ** -0.5))
        return radial @ (last * len(last) ** -0.5)


class Messages(Module):
    """Sum the neighbours' features, each coupled with the harmonics of its edge:

        out_i = B Σ_j w(r_ij) · (A x_j ⊗ Y(r_ij)) / (E √num_neighbors).

    A and B are linear; ⊗ is the tensor product with one weight for each path and channel (`ChannelProduct`). The root
    of the typical number of neighbours keeps the sum's variance; for the division by E, see
    `tesseral.models.networks.layers.convolution`. Irreps that no path reaches are zero.

    :param irreps_in: features of each atom.
    :param irreps_out: irreps of the messages.
    :param settings: the `network` section, of which the harmonics and the radial network count.
    :param elements: number of elements E.
    :param num_neighbors: typical number of neighbours.
    """

    scale: Tensor

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
        self.elements = elements
        self._plan = ""
        self.width = self.irreps_out.dim  # a plain number for `forward`: torch.compile cannot trace irreps
        self.register_buffer("scale", torch.tensor(num_neighbors**-0.5 / elements))
        self.product = ChannelProduct(self.irreps_in, settings.harmonics_lmax, self.irreps_out)
        self.reaches = bool(self.product.paths)
        if not self.reaches:
            return
        self.before = BlockLinear(self.irreps_in, self.irreps_in)
        self.radial = RadialNetwork([*radial_sizes(settings), self.product.weight_numel], settings)
        with torch.no_grad():  # drawn by channel, then path; used by path, then channel
            last = self.radial.weights[-1]
            last.copy_(last.index_select(1, self.product.drawn()))
        self.after = BlockLinear(self.product.irreps_out, self.irreps_out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, edges {self.product.irreps_edge})"

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """Couple the neighbours' features with the edges' harmonics, and sum them.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :returns: (atoms, irreps_out.dim).
        """
        if not self.reaches:
            return features.new_zeros(features.shape[0], self.width)
        if self.fuses(features, graph):
            self._plan = self._plan or self.plan().text()
            return self.convolve(self._plan, features, graph)
        # One operation a linear map, of which forces take two further derivatives.
        whole = self.product.backend == "fused" and not torch.compiler.is_compiling()
        shapes = self.product.shapes
        sent = to_blocks(self.before.whole(features), shapes) if whole else self.before(to_blocks(features, shapes))
        # Weights depend on the distance alone: the fused product takes those of an edge for its reverse as well.
        halved = self.product.backend == "fused" and len(graph.half) > 0
        weights = self.radial(graph.radial.index_select(0, graph.half) if halved else graph.radial)
        edges = graph.source, graph.destination, graph.reverse
        # The second linear map commutes with the sum, and comes after it: atoms are fewer than edges.
        gathered = self.product(sent, graph.harmonics, weights, *edges)
        return (self.after.whole(from_blocks(gathered)) if whole else from_blocks(self.after(gathered))) * self.scale

    def fuses(self, features: Tensor, graph: Graph) -> bool:
        """Whether one operation computes all of it, and what a layer adds: on fixed geometry, whose edges all have a
        reverse, outside torch's compiler. `half` names one edge of each pair, or all, each with weights of its own.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        """
        return (
            self.product.backend == "fused"
            and features.device.type == "cpu"
            and graph.source.shape[0] in (2 * graph.half.shape[0], graph.half.shape[0])
            and not (graph.harmonics.requires_grad or graph.radial.requires_grad)
            and not torch.compiler.is_compiling()
        )

    def plan(self) -> ConvolutionPlan:
        """What the operation computes for the messages alone; a layer adds its own parts."""
        return ConvolutionPlan(
            product=self.product.plan,
            terms=[(ir.dim, mul) for mul, ir in self.irreps_in],
            outs=[(ir.dim, mul) for mul, ir in self.irreps_out],
            before=self.before.paths,
            after=self.after.paths,
            own=[],
            elements=self.elements,
            radial=self.radial.sizes,
            harmonics=self.product.irreps_edge.dim,
            factors=FACTORS,
            knots=0 if self.radial.knots is None else len(self.radial.knots),
            cutoff=self.radial.cutoff,
        )

    def convolve(self, plan: str, features: Tensor, graph: Graph, own: Tensor | None = None) -> Tensor:
        """Compute a plan in one operation.

        :param plan: the text of `plan`, or of one that a layer made of it.
        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :param own: weights of a self-connection.
        :returns: (atoms, components of the plan's result).
        """
        edges = Edges(graph.source, graph.destination, graph.reverse, graph.half, graph.harmonics, graph.radial)
        own = features.new_empty(0) if own is None else own
        weights = [self.before.weight, self.after.weight, own, *self.radial.weights]
        knots = features.new_empty(0) if self.radial.knots is None else self.radial.knots
        fixed = self.product.entries, knots
        return convolve(plan, features, graph.species, edges, fixed, float(self.scale), weights, self.product.seen)


def radial_sizes(settings: configuration.Network) -> list[int]:
    """Layer sizes of the radial network without the last: radial functions, then neurons of the hidden layers.

    :param settings: the `network` section.
    """
    return [settings.radial_functions, *settings.radial_layers * [settings.radial_width]]


def message_irreps(irreps_in: o3.Irreps, lmax: int) -> set[o3.Irrep]:
    """The irreps in the product of features with harmonics of l = 0..lmax.

    :param irreps_in: of the features.
    :param lmax: largest l of the harmonics.
    """
    harmonics = o3.Irreps.spherical_harmonics(lmax)
    return {ir for _, ir_in in o3.Irreps(irreps_in) for _, harmonic in harmonics for ir in ir_in * harmonic}
