"""The fusion diagram inside a layer: what its leaves are there, and which irreps it adds to what the layer makes."""

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, ModuleDict

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.fusion_block import EdgeSum, FusionBlock, orders
from tesseral.models.networks.layers.messages import radial_sizes
from tesseral.models.networks.layers.saturation import bounded
from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import Tree, parse_tree

PART = 0.15
"""Part of a sum's variance that is given to the products in it, which have long tails."""


class LayerFusion(Module):
    """y ↦ √(1−p) y + √p F(x, g, e): a layer's features y, and those of `settings.fusion`.

    F is the diagram (`tesseral.models.networks.layers.fusion_block`) of the atom's features x (`centre`), of what the
    layer gathers, g (`neighbours`), and of e = Σ_j w(r_ij) Y(r_ij) (`edges`), each bounded by `Saturation`, or as it is
    where `settings.saturation` is false. p is `PART`; an irrep that only one of the terms reaches takes it whole.

    :param irreps_in: of x.
    :param gathered: irreps of g.
    :param irreps_out: of y and of the sum.
    :param others: the irreps of y that are not zero.
    :param settings: the `network` section, resolved, with a diagram.
    :param num_neighbors: the sum over edges is divided by its square root.
    """

    keep: Tensor
    take: Tensor

    def __init__(
        self,
        irreps_in: o3.Irreps,
        gathered: o3.Irreps,
        irreps_out: o3.Irreps,
        others: set[o3.Irrep],
        settings: configuration.Network,
        *,
        num_neighbors: float,
    ) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps(irreps_out)
        tree, channels = parse_tree(settings.fusion.diagram), channels_inside(settings)
        lmax = settings.harmonics_lmax
        leaves = {"centre": o3.Irreps(irreps_in), "neighbours": o3.Irreps(gathered)}
        self.edges: EdgeSum | None = None
        if "edges" in tree.leaves:
            self.edges = EdgeSum(lmax, channels, radial=radial_sizes(settings), num_neighbors=num_neighbors)
            leaves["edges"] = self.edges.irreps_out
        self.saturations = ModuleDict({name: bounded(leaves[name], settings) for name in sorted(set(tree.leaves))})
        self.block = FusionBlock(tree, leaves, self.irreps_out, channels, settings.fusion.bound)
        made = {o3.Irrep(ir) for ir in self.block.reached}
        keep, take = shares(self.irreps_out, others, made)
        self.register_buffer("keep", keep, persistent=False)
        self.register_buffer("take", take, persistent=False)

    def forward(self, made: Tensor, features: Tensor, gathered: Tensor, graph: Graph) -> Tensor:
        """y, x, g ↦ (atoms, irreps_out.dim)."""
        leaves = {"centre": features, "neighbours": gathered}
        if self.edges is not None:
            leaves["edges"] = self.edges(graph)
        entering = {name: bound(leaves[name]) for name, bound in self.saturations.items()}
        return self.keep * made + self.take * self.block(entering)


def shares(irreps: o3.Irreps, one: set[o3.Irrep], products: set[o3.Irrep]) -> tuple[Tensor, Tensor]:
    """Factors for each component of a sum: √(1−p) of one term and √p of products where both reach it, else 1."""
    both = torch.tensor(
        [ir in one and ir in products for mul, ir in irreps for _ in range(mul * ir.dim)], dtype=torch.bool
    )
    return torch.where(both, (1 - PART) ** 0.5, 1.0), torch.where(both, PART**0.5, 1.0)


def channels_inside(settings: configuration.Network) -> int:
    """Channels of every irrep inside the diagram: as stated, or as many as the rarest hidden irrep has."""
    return settings.fusion.channels or min(mul for mul, _ in o3.Irreps(settings.hidden.irreps))


def fused(
    irreps_in: o3.Irreps, gathered: o3.Irreps, irreps_out: o3.Irreps, settings: configuration.Network
) -> set[o3.Irrep]:
    """The irreps of `irreps_out` that the diagram reaches; none without a diagram. Multiplicities do not count."""
    if settings.fusion.diagram == "none":
        return set()
    tree: Tree = parse_tree(settings.fusion.diagram)
    harmonics = o3.Irreps.spherical_harmonics(settings.harmonics_lmax)
    leaves = {
        "centre": orders(o3.Irreps(irreps_in)),
        "neighbours": orders(o3.Irreps(gathered)),
        "edges": orders(harmonics),
    }
    found = paths(tree, leaves, orders(o3.Irreps(irreps_out)), settings.fusion.bound)
    return {o3.Irrep(path.irrep) for path in found}
