"""A fusion diagram beside a layer: what enters its leaves, and how its result is added to the layer's.

The leaves of a diagram in a layer are `centre`, the atom's own features; `neighbours`, the messages that the layer
gathers; and `edges`, the harmonics of the atom's edges, weighted by distance and summed.
"""

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, ModuleDict

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.irreps import irrep_set
from tesseral.models.networks.layers.fusion_block import EdgeSum, FusionBlock
from tesseral.models.networks.layers.messages import radial_sizes
from tesseral.models.networks.layers.nonlinearity import saturation
from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import Tree, parse_tree

PRODUCT_SHARE = 0.15
"""Share p of a sum's variance that products of features get: the smaller one, because their distributions have long
tails."""


class LayerFusion(Module):
    """Add a fusion diagram to a layer's outputs y:

        y ↦ √(1−p) y + √p F(x, g, e).

    F is the `FusionBlock` of `settings.fusion`, of the atom's features x (`centre`), the layer's messages g
    (`neighbours`) and e = Σ_j w(r_ij) Y(r_ij) (`edges`); each passes `Saturation` first unless `settings.saturation` is
    false. p is `PRODUCT_SHARE`. An irrep that only one of the two terms reaches takes that term whole.

    :param irreps_in: irreps of x.
    :param gathered: irreps of g.
    :param irreps_out: irreps of y and of the sum.
    :param others: irreps of y that the layer itself reaches; the rest of y is zero.
    :param settings: the `network` section, resolved, with a diagram.
    :param num_neighbors: typical number of neighbours; the sum over edges is divided by its square root.
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
            sizes = radial_sizes(settings)
            self.edges = EdgeSum(lmax, channels, radial=sizes, num_neighbors=num_neighbors, settings=settings)
            leaves["edges"] = self.edges.irreps_out
        self.saturations = ModuleDict({name: saturation(leaves[name], settings) for name in sorted(set(tree.leaves))})
        self.block = FusionBlock(tree, leaves, self.irreps_out, channels, settings.fusion.bound)
        reached = {o3.Irrep(ir) for ir in self.block.reached}
        keep, take = mixing_factors(self.irreps_out, others, reached)
        self.register_buffer("keep", keep, persistent=False)
        self.register_buffer("take", take, persistent=False)

    def forward(self, outputs: Tensor, features: Tensor, gathered: Tensor, graph: Graph) -> Tensor:
        """Add the diagram to a layer's outputs.

        :param outputs: y, (atoms, irreps_out.dim).
        :param features: x, (atoms, irreps_in.dim).
        :param gathered: g, (atoms, gathered.dim).
        :param graph: edges, for the leaf `edges`.
        :returns: (atoms, irreps_out.dim).
        """
        leaves = {"centre": features, "neighbours": gathered}
        if self.edges is not None:
            leaves["edges"] = self.edges(graph)
        entering = {name: bound(leaves[name]) for name, bound in self.saturations.items()}
        return self.keep * outputs + self.take * self.block(entering)


def mixing_factors(irreps: o3.Irreps, others: set[o3.Irrep], products: set[o3.Irrep]) -> tuple[Tensor, Tensor]:
    """Factors of the two terms of a sum, for each component: √(1−p) and √p where both terms reach its irrep, else 1.

    :param irreps: of the sum.
    :param others: irreps that the first term reaches.
    :param products: irreps that the second term, of products, reaches.
    :returns: (irreps.dim,) for each term.
    """
    both = torch.tensor(
        [ir in others and ir in products for mul, ir in irreps for _ in range(mul * ir.dim)], dtype=torch.bool
    )
    return torch.where(both, (1 - PRODUCT_SHARE) ** 0.5, 1.0), torch.where(both, PRODUCT_SHARE**0.5, 1.0)


def channels_inside(settings: configuration.Network) -> int:
    """Channels of every irrep inside the diagram: `fusion.channels`, or as many as the rarest hidden irrep has.

    :param settings: the `network` section, its hidden irreps as text.
    """
    return settings.fusion.channels or min(mul for mul, _ in o3.Irreps(settings.hidden.irreps))


def diagram_irreps(
    irreps_in: o3.Irreps, gathered: o3.Irreps, irreps_out: o3.Irreps, settings: configuration.Network
) -> set[o3.Irrep]:
    """The irreps of `irreps_out` that the diagram reaches, whatever their multiplicities; none without a diagram.

    :param irreps_in: of the atom's own features.
    :param gathered: of the messages.
    :param irreps_out: irreps asked for.
    :param settings: the `network` section, resolved.
    """
    if settings.fusion.diagram == "none":
        return set()
    tree: Tree = parse_tree(settings.fusion.diagram)
    harmonics = o3.Irreps.spherical_harmonics(settings.harmonics_lmax)
    leaves = {
        "centre": irrep_set(o3.Irreps(irreps_in)),
        "neighbours": irrep_set(o3.Irreps(gathered)),
        "edges": irrep_set(harmonics),
    }
    independent = paths(tree, leaves, irrep_set(o3.Irreps(irreps_out)), settings.fusion.bound)
    return {o3.Irrep(path.irrep) for path in independent}
