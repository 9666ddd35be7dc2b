"""The Cormorant-like layer (after Anderson et al., arXiv 1906.04015): products of features with features, no gate."""

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.fusion_block import FusionProduct
from tesseral.models.networks.layers.layer import Layer
from tesseral.models.networks.layers.layer_fusion import LayerFusion, fused, shares
from tesseral.models.networks.layers.messages import Messages, radial_sizes, reached
from tesseral.models.networks.layers.saturation import bounded
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import Tree

SQUARES = (Tree("centre", "centre"), Tree("centre", "neighbours"))
"""The products of two: of an atom's features with themselves and with what it gathers."""


class CormorantLayer(Layer):
    """x ↦ √(1−p) L(x ⊕ G) + √p M(U·U ⊕ U·G), with as many channels C of every irrep as the rarest hidden one has.

    U = A x and the messages G (`tesseral.models.networks.layers.messages`), times the number of elements that these are
    divided by, have C channels of each irrep.
    The products are of channel u with channel u, all irreps with all, their vertices as in
    `tesseral.models.networks.layers.fusion_block` and their factors bounded by `Saturation`, or as they are where
    `settings.saturation` is false; A, L and M are linear. An irrep that only one of the terms reaches takes it whole.
    p, and a fusion diagram of x and G, as in `tesseral.models.networks.layers.layer_fusion`.

    :param irreps_in: features of each atom, each irrep once.
    :param irreps_hidden: what is asked for; what nothing makes is left out.
    :param settings: the `network` section, resolved.
    :param elements: number of elements.
    :param num_neighbors: messages are divided by its square root.
    """

    keep: Tensor
    take: Tensor

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_hidden: o3.Irreps,
        settings: configuration.Network,
        *,
        elements: int,
        num_neighbors: float,
    ) -> None:
        super().__init__()
        self.irreps_in, self.elements = o3.Irreps(irreps_in), elements
        channels = min(mul for mul, _ in irreps_hidden)
        made = reached(self.irreps_in, settings.harmonics_lmax)
        own = o3.Irreps([(channels, ir) for _, ir in self.irreps_in])
        gathered = o3.Irreps([(channels, ir) for _, ir in irreps_hidden if ir in made])
        self.own = o3.Linear(self.irreps_in, own)
        self.messages = Messages(
            self.irreps_in,
            gathered,
            lmax=settings.harmonics_lmax,
            elements=elements,
            radial=radial_sizes(settings),
            num_neighbors=num_neighbors,
        )
        self.centre, self.neighbours = bounded(own, settings), bounded(gathered, settings)
        self.product = FusionProduct(SQUARES, {"centre": own, "neighbours": gathered}, irreps_hidden, channels)
        carried, products = self.irreps_in + gathered, self.product.irreps_out
        further = fused(self.irreps_in, gathered, irreps_hidden, settings)
        self.irreps_out = o3.Irreps(
            [(mul, ir) for mul, ir in irreps_hidden if ir in carried or ir in products or ir in further]
        )
        self.linear = o3.Linear(carried, self.irreps_out)
        self.mix = o3.Linear(products, self.irreps_out)
        linear, squares = {ir for _, ir in carried}, {ir for _, ir in products}
        keep, take = shares(self.irreps_out, linear, squares)
        self.register_buffer("keep", keep, persistent=False)
        self.register_buffer("take", take, persistent=False)
        self.fusion: LayerFusion | None = None
        if further:
            self.fusion = LayerFusion(
                self.irreps_in,
                gathered,
                self.irreps_out,
                linear | squares,
                settings,
                num_neighbors=num_neighbors,
            )

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        gathered = self.messages(features, graph) * self.elements
        products = self.product({"centre": self.centre(self.own(features)), "neighbours": self.neighbours(gathered)})
        carried = self.linear(torch.cat([features, gathered], dim=1))
        made = self.keep * carried + self.take * self.mix(products)
        return made if self.fusion is None else self.fusion(made, features, gathered, graph)
