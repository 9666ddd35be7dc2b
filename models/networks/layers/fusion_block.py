"""A fusion diagram as a module (after Li et al., arXiv 2211.07482), and the sum over edges that can be its leaf."""

from collections.abc import Mapping

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, ModuleDict

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.irreps import irrep_set, uniform
from tesseral.models.networks.layers.messages import RadialNetwork
from tesseral.models.networks.paths.selection_rules import IrrepSet
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.models.networks.products.linear import Linear
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import Tree


class FusionBlock(Module):
    """Evaluate a fusion diagram, with linear maps that mix channels before and after it:

        out = W Σ_paths path(V_a a, V_b b, …).

    Leaves of one name share their map V, so that they are equal features. Irreps of `irreps_out` that no path reaches
    are exactly zero; `reached` holds the others.

    :param tree: the diagram's tree; its leaves are keys of `leaves`.
    :param leaves: irreps of the features of each leaf; names outside the tree are ignored.
    :param irreps_out: irreps of the result.
    :param channels: channels of every irrep inside the diagram.
    :param k_max: largest l on internal edges; None sets no limit.
    """

    def __init__(
        self,
        tree: Tree,
        leaves: Mapping[str, o3.Irreps],
        irreps_out: o3.Irreps,
        channels: int,
        k_max: int | None = None,
    ) -> None:
        super().__init__()
        self.irreps_in = {name: o3.Irreps(leaves[name]) for name in sorted(set(tree.leaves))}
        self.irreps_out = o3.Irreps(irreps_out)
        inside = {name: uniform(channels, irrep_set(irreps)) for name, irreps in self.irreps_in.items()}
        self.product = FusionProduct(tree, inside, self.irreps_out, channels, k_max)
        self.reached: IrrepSet = frozenset(self.product.paths)
        if self.reached:
            self.maps = ModuleDict({name: Linear(irreps, inside[name]) for name, irreps in self.irreps_in.items()})
            self.root = Linear(self.product.irreps_out, self.irreps_out)

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{', '.join(f'{name} {irreps}' for name, irreps in self.irreps_in.items())} -> {self.irreps_out}"

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Evaluate the diagram.

        :param features: for each leaf, (atoms, irreps.dim); other names are ignored.
        :returns: (atoms, irreps_out.dim).
        """
        if not self.reached:
            any_leaf = next(iter(features.values()))
            return any_leaf.new_zeros(len(any_leaf), self.irreps_out.dim)
        inside = {name: mapped(features[name]) for name, mapped in self.maps.items()}
        out: Tensor = self.root(self.product(inside))
        return out


class EdgeSum(Module):
    """The leaf `edges`: the harmonics of an atom's edges, weighted by distance and summed, whatever the neighbours are,

        out_{l,u,m} = Σ_j w_{l,u}(r_j) Y_lm(r_j) / √num_neighbors.

    :param lmax: largest l of the edges' harmonics.
    :param channels: channels of every l.
    :param radial: layer sizes of the radial network without the last; see `radial_sizes`.
    :param num_neighbors: typical number of neighbours.
    :param settings: the `network` section, which may ask for a table of the radial network.
    """

    weight: Tensor
    harmonic: Tensor

    def __init__(
        self,
        lmax: int,
        channels: int,
        *,
        radial: list[int],
        num_neighbors: float,
        settings: configuration.Network | None = None,
    ) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps([(channels, ir) for _, ir in o3.Irreps.spherical_harmonics(lmax)])
        self.radial = RadialNetwork([*radial, channels * (lmax + 1)], settings)
        self.scale = num_neighbors**-0.5
        # Of each component of a message, its weight and its harmonic.
        orders = [(order, u, m) for order in range(lmax + 1) for u in range(channels) for m in range(2 * order + 1)]
        weight, harmonic = [order * channels + u for order, u, _ in orders], [order**2 + m for order, _, m in orders]
        self.register_buffer("weight", torch.tensor(weight), persistent=False)
        self.register_buffer("harmonic", torch.tensor(harmonic), persistent=False)

    def extra_repr(self) -> str:
        """Irreps."""
        return str(self.irreps_out)

    def forward(self, graph: Graph) -> Tensor:
        """The weighted sum of the harmonics over the edges of each atom.

        :param graph: edges, with harmonics and radial values.
        :returns: (atoms, irreps_out.dim).
        """
        weights = self.radial(graph.radial).index_select(1, self.weight)
        messages = weights * graph.harmonics.index_select(1, self.harmonic)
        gathered = messages.new_zeros(graph.species.shape[0], messages.shape[1])
        return self.scale * gathered.index_add(0, graph.destination, messages)
