"""The layer after MACE (Batatia et al., arXiv 2206.07697): symmetric powers of the messages that an atom gathers."""

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.irreps import irrep_set, uniform
from tesseral.models.networks.layers.layer import Layer
from tesseral.models.networks.layers.layer_fusion import LayerFusion, diagram_irreps
from tesseral.models.networks.layers.messages import Messages, message_irreps
from tesseral.models.networks.layers.nonlinearity import saturation
from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.selection_rules import IrrepSet
from tesseral.models.networks.products.element_linear import ElementLinear
from tesseral.models.networks.products.linear import Linear
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import comb


class MaceLayer(Layer):
    """Contract the symmetric powers of the messages, and add a self-connection:

        x ↦ (L B + √E C(x, z)) / √2,   B = `SymmetricContraction` of A, of degree 1..ν.

    A are the messages (`Messages`) times E, by which those are divided. They have every hidden irrep and every
    harmonic's, in as many channels as the rarest hidden irrep has, and pass `Saturation` first; where
    `settings.saturation` is false they do not, and B is a polynomial of the messages. L is linear; the self-connection
    C is linear with separate weights for each element z, and the factor √E undoes e3nn's normalisation by 1/√E. An
    irrep that only one of the two terms reaches takes that term whole. A fusion diagram of x and A is added as in
    `LayerFusion`.

    :param irreps_in: features of each atom, each irrep once.
    :param irreps_hidden: irreps wanted; those that cannot be reached are left out of `irreps_out`.
    :param settings: the `network` section, resolved.
    :param elements: number of elements E.
    :param num_neighbors: typical number of neighbours; messages are divided by its square root.
    """

    keep: Tensor

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
        lmax, channels = settings.harmonics_lmax, min(mul for mul, _ in irreps_hidden)
        kept = irrep_set(irreps_hidden) | irrep_set(o3.Irreps.spherical_harmonics(lmax))
        # Harmonics that are not hidden irreps are gathered too: their powers contain hidden ones.
        reached = frozenset((ir.l, ir.p) for ir in message_irreps(self.irreps_in, lmax)) & kept
        gathered = uniform(channels, reached)
        powers = uniform(channels, contraction_irreps(reached, irrep_set(irreps_hidden), settings.correlation))
        self.messages = Messages(self.irreps_in, gathered, settings, elements=elements, num_neighbors=num_neighbors)
        further = diagram_irreps(self.irreps_in, gathered, irreps_hidden, settings)
        self.irreps_out = o3.Irreps(
            [(mul, ir) for mul, ir in irreps_hidden if ir in powers or ir in self.irreps_in or ir in further]
        )
        self.contraction: SymmetricContraction | None = None
        if powers:
            self.saturation = saturation(gathered, settings)
            self.contraction = SymmetricContraction(
                gathered, powers, correlation=settings.correlation, elements=elements
            )
            self.update = Linear(powers, self.irreps_out)
        self.self_connection = ElementLinear(self.irreps_in, elements, self.irreps_out)
        both = [ir in powers and ir in self.irreps_in for mul, ir in self.irreps_out for _ in range(mul * ir.dim)]
        keep = torch.where(torch.tensor(both, dtype=torch.bool), 0.5**0.5, 1.0)
        self.register_buffer("keep", keep, persistent=False)
        self.fusion: LayerFusion | None = None
        if further:
            others = {ir for _, ir in powers} | {ir for _, ir in self.irreps_in}
            self.fusion = LayerFusion(
                self.irreps_in, gathered, self.irreps_out, others, settings, num_neighbors=num_neighbors
            )

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """Contract the powers of the messages, and add the self-connection.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :returns: (atoms, irreps_out.dim).
        """
        gathered = self.messages(features, graph) * self.elements  # products need features of second moment 1
        outputs: Tensor = self.self_connection(features, graph.elements) * self.elements**0.5
        if self.contraction is not None:
            powers = self.contraction(self.saturation(gathered), graph.elements)
            outputs = (outputs + self.update(powers)) * self.keep
        return outputs if self.fusion is None else self.fusion(outputs, features, gathered, graph)


def contraction_irreps(irreps: IrrepSet, wanted: IrrepSet, correlation: int) -> IrrepSet:
    """The irreps of `wanted` in the symmetric powers of degree 1..correlation of one channel of `irreps`.

    :param irreps: of the channel.
    :param wanted: irreps asked for.
    :param correlation: ν, the highest degree.
    """
    powers = [paths(comb("x", degree), {"x": irreps}, wanted) for degree in range(1, correlation + 1)]
    return frozenset(path.irrep for power in powers for path in power)
