"""Fusion diagrams as modules: products of an atom's features along a tree, and what they take of its edges."""

from collections.abc import Mapping
from typing import Self

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, ModuleDict

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.messages import RadialNetwork
from tesseral.models.networks.paths.fusion_paths import in_order
from tesseral.models.networks.paths.selection_rules import Orders
from tesseral.models.networks.products.fusion_product import FusionProduct as FusionProduct
from tesseral.models.networks.products.fusion_product import orders as orders
from tesseral.models.networks.user_network import to_irreps
from tesseral.study.parsing.fusion_diagram import FusionDiagram
from tesseral.study.parsing.fusion_tree import Tree


class FusionBlock(Module):
    """A fusion diagram with the linear maps that mix channels: of each leaf before it, of its paths after it,

        out = W Σ_paths path(V_a a, V_b b, …).

    Leaves of one name share their map, so they are equal features. An irrep of `irreps_out` that no path reaches is
    exactly zero; `reached` has the others.

    :param tree: its leaves are keys of `leaves`.
    :param leaves: irreps of the features that each leaf stands for; those of other names are not read.
    :param irreps_out: what is made of the paths.
    :param channels: of every irrep inside the diagram.
    :param k_max: largest l of internal edges; not limited if None.
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
        inside = {
            name: o3.Irreps([(channels, irrep) for irrep in in_order(orders(irreps))])
            for name, irreps in self.irreps_in.items()
        }
        self.product = FusionProduct(tree, inside, self.irreps_out, channels, k_max)
        self.reached: Orders = frozenset(self.product.paths)
        if self.reached:
            self.maps = ModuleDict({name: o3.Linear(irreps, inside[name]) for name, irreps in self.irreps_in.items()})
            self.root = o3.Linear(self.product.irreps_out, self.irreps_out)

    @classmethod
    def from_diagram(cls, diagram: FusionDiagram) -> Self:
        """The module of a diagram; `tesseral.models.networks.paths.fusion_paths.diagram_parameters` counts its
        parameters."""
        leaves = {name: to_irreps(irreps) for name, irreps in diagram.leaves}
        return cls(diagram.tree, leaves, to_irreps(diagram.roots), diagram.channels, diagram.k_max)

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{', '.join(f'{name} {irreps}' for name, irreps in self.irreps_in.items())} -> {self.irreps_out}"

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(atoms, irreps_out.dim).

        :param features: of each leaf, (atoms, irreps.dim); others are not read.
        """
        if not self.reached:
            one = next(iter(features.values()))
            return one.new_zeros(len(one), self.irreps_out.dim)
        inside = {name: mapped(features[name]) for name, mapped in self.maps.items()}
        out: Tensor = self.root(self.product(inside))
        return out


class EdgeSum(Module):
    """The leaf `edges`: an atom's neighbours by distance and direction, whatever they are,

        out_{l,u,m} = Σ_j w_{l,u}(r_j) Y_lm(r_j) / √num_neighbors.

    :param lmax: of the edges' harmonics.
    :param channels: of every l.
    :param radial: sizes of the radial network but the last: functions, then neurons of the hidden layers.
    :param num_neighbors: typical number of neighbours.
    """

    def __init__(self, lmax: int, channels: int, *, radial: list[int], num_neighbors: float) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps([(channels, ir) for _, ir in o3.Irreps.spherical_harmonics(lmax)])
        self.channels, self.lmax = channels, lmax
        self.radial = RadialNetwork([*radial, channels * (lmax + 1)])
        self.scale = num_neighbors**-0.5

    def extra_repr(self) -> str:
        """Irreps."""
        return str(self.irreps_out)

    def forward(self, graph: Graph) -> Tensor:
        """(atoms, irreps_out.dim)."""
        weights = self.radial(graph.radial).reshape(len(graph.radial), self.lmax + 1, self.channels, 1)
        harmonics = graph.harmonics.split([2 * order + 1 for order in range(self.lmax + 1)], dim=1)
        parts = [(weights[:, order] * part[:, None]).flatten(1) for order, part in enumerate(harmonics)]
        messages = torch.cat(parts, dim=1)
        gathered = messages.new_zeros(len(graph.species), messages.shape[1])
        return self.scale * gathered.index_add(0, graph.destination, messages)
