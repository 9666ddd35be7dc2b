"""The layer after Cormorant (Anderson et al., arXiv 1906.04015): products of features with features, without a gate."""

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.layer import Layer
from tesseral.models.networks.layers.layer_fusion import LayerFusion, diagram_irreps, mixing_factors
from tesseral.models.networks.layers.messages import Messages, message_irreps
from tesseral.models.networks.layers.nonlinearity import saturation
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.models.networks.products.linear import Linear
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import Tree

SQUARES = (Tree("centre", "centre"), Tree("centre", "neighbours"))
"""Products of an atom's features with themselves, and with the messages that it gathers."""


class CormorantLayer(Layer):
    """Mix features and messages linearly, and add products of two features:

        x ↦ √(1−p) L(x ⊕ G) + √p M(U ⊗ U ⊕ U ⊗ G),   U = A x.

    G are the messages (`Messages`) times E, by which those are divided. A, L and M are linear. U and G have C channels
    of every irrep, as many as the rarest hidden irrep has, and ⊗ couples channel u with channel u, each irrep with each
    (`FusionProduct`). Factors pass `Saturation` first unless `settings.saturation` is false. p is
    `layer_fusion.PRODUCT_SHARE`; an irrep that only one of the two terms reaches takes that term whole. A fusion
    diagram of x and G is added as in `LayerFusion`.

    :param irreps_in: features of each atom, each irrep once.
    :param irreps_hidden: irreps wanted; those that cannot be reached are left out of `irreps_out`.
    :param settings: the `network` section, resolved.
    :param elements: number of elements E.
    :param num_neighbors: typical number of neighbours; messages are divided by its square root.
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
        reached = message_irreps(self.irreps_in, settings.harmonics_lmax)
        own = o3.Irreps([(channels, ir) for _, ir in self.irreps_in])
        gathered = o3.Irreps([(channels, ir) for _, ir in irreps_hidden if ir in reached])
        self.own = Linear(self.irreps_in, own)
        self.messages = Messages(self.irreps_in, gathered, settings, elements=elements, num_neighbors=num_neighbors)
        self.centre, self.neighbours = saturation(own, settings), saturation(gathered, settings)
        self.product = FusionProduct(SQUARES, {"centre": own, "neighbours": gathered}, irreps_hidden, channels)
        carried, products = self.irreps_in + gathered, self.product.irreps_out
        further = diagram_irreps(self.irreps_in, gathered, irreps_hidden, settings)
        self.irreps_out = o3.Irreps(
            [(mul, ir) for mul, ir in irreps_hidden if ir in carried or ir in products or ir in further]
        )
        self.linear = Linear(carried, self.irreps_out)
        self.mix = Linear(products, self.irreps_out)
        linear, squares = {ir for _, ir in carried}, {ir for _, ir in products}
        keep, take = mixing_factors(self.irreps_out, linear, squares)
        self.register_buffer("keep", keep, persistent=False)
        self.register_buffer("take", take, persistent=False)
        self.fusion: LayerFusion | None = None
        if further:
            self.fusion = LayerFusion(
                self.irreps_in, gathered, self.irreps_out, linear | squares, settings, num_neighbors=num_neighbors
            )

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """Mix features and messages, and add their products.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :returns: (atoms, irreps_out.dim).
        """
        gathered = self.messages(features, graph) * self.elements  # products need features of second moment 1
        products = self.product({"centre": self.centre(self.own(features)), "neighbours": self.neighbours(gathered)})
        carried = self.linear(torch.cat([features, gathered], dim=1))
        outputs = self.keep * carried + self.take * self.mix(products)
        return outputs if self.fusion is None else self.fusion(outputs, features, gathered, graph)
