"""The MACE-like layer (after Batatia et al., arXiv 2206.07697): the symmetric powers of what an atom gathers."""

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.fusion_block import orders
from tesseral.models.networks.layers.layer import Layer
from tesseral.models.networks.layers.layer_fusion import LayerFusion, fused
from tesseral.models.networks.layers.messages import Messages, radial_sizes, reached
from tesseral.models.networks.layers.saturation import bounded
from tesseral.models.networks.paths.fusion_paths import in_order, paths
from tesseral.models.networks.paths.selection_rules import Orders
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction
from tesseral.study import configuration
from tesseral.study.parsing.fusion_tree import comb


class MaceLayer(Layer):
    """x ↦ (L B + √E C(x, z))/√2 with B the symmetric contraction of A, all its powers of degree 1..ν.

    A are messages (`tesseral.models.networks.layers.messages`) times the number of elements E that these are divided
    by: of every hidden irrep and every harmonic's as many channels as the rarest hidden irrep has, bounded by
    `Saturation`, or as they are where `settings.saturation` is false: B is then a polynomial of the messages. L is
    linear; so is C, with weights of its own for each element z (the self-connection), times √E because e3nn norms it by
    1/√E. An irrep that only one of the terms reaches takes it whole. A fusion diagram of x and A is added as in
    `tesseral.models.networks.layers.layer_fusion`.

    :param irreps_in: features of each atom, each irrep once.
    :param irreps_hidden: what is asked for; what nothing makes is left out.
    :param settings: the `network` section, resolved.
    :param elements: number of elements.
    :param num_neighbors: messages are divided by its square root.
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
        kept = orders(irreps_hidden) | orders(o3.Irreps.spherical_harmonics(lmax))
        made = frozenset((ir.l, ir.p) for ir in reached(self.irreps_in, lmax))
        gathered = _of_each(channels, made & kept)
        powers = _of_each(channels, contracted(made & kept, orders(irreps_hidden), settings.correlation))
        self.messages = Messages(
            self.irreps_in,
            gathered,
            lmax=lmax,
            radial=radial_sizes(settings),
            num_neighbors=num_neighbors,
            elements=elements,
        )
        further = fused(self.irreps_in, gathered, irreps_hidden, settings)
        self.irreps_out = o3.Irreps(
            [(mul, ir) for mul, ir in irreps_hidden if ir in powers or ir in self.irreps_in or ir in further]
        )
        self.contraction: SymmetricContraction | None = None
        if powers:
            self.saturation = bounded(gathered, settings)
            self.contraction = SymmetricContraction(
                gathered, powers, correlation=settings.correlation, elements=elements
            )
            self.update = o3.Linear(powers, self.irreps_out)
        self.self_connection = o3.FullyConnectedTensorProduct(
            self.irreps_in, o3.Irreps([(elements, "0e")]), self.irreps_out
        )
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
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        gathered = self.messages(features, graph) * self.elements
        made: Tensor = self.self_connection(features, graph.elements) * self.elements**0.5
        if self.contraction is not None:
            powers = self.contraction(self.saturation(gathered), graph.elements)
            made = (made + self.update(powers)) * self.keep
        return made if self.fusion is None else self.fusion(made, features, gathered, graph)


def contracted(irreps: Orders, asked: Orders, correlation: int) -> Orders:
    """Of the irreps asked for, those in the symmetric powers of degree 1..correlation of one channel of `irreps`."""
    powers = [paths(comb("x", degree), {"x": irreps}, asked) for degree in range(1, correlation + 1)]
    return frozenset(path.irrep for found in powers for path in found)


def _of_each(channels: int, irreps: Orders) -> o3.Irreps:
    return o3.Irreps([(channels, irrep) for irrep in in_order(irreps)])
