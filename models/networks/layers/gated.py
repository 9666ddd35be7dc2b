"""The gated layer after Rackers & Rao (arXiv 2210.04766): a convolution and a gate."""

from e3nn import o3
from torch import Tensor, cat

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.convolution import Convolution
from tesseral.models.networks.layers.gate import Gate
from tesseral.models.networks.layers.layer import Layer
from tesseral.models.networks.layers.layer_fusion import LayerFusion, fused
from tesseral.models.networks.layers.messages import radial_sizes, reached
from tesseral.study import configuration


class GatedLayer(Layer):
    """gate(convolution(x)): the features that it makes are those of `irreps_hidden` it can reach.

    With a fusion diagram, gate(y) where y is the sum of the convolution and the diagram of x and of the convolution's
    messages, times the number of elements that they are divided by (`tesseral.models.networks.layers.layer_fusion`): it
    makes gates too, and irreps that the convolution does not reach.

    :param irreps_in: features of each atom.
    :param irreps_hidden: what is asked for.
    :param settings: the `network` section, resolved.
    :param elements: number of elements.
    :param num_neighbors: messages are divided by its square root.
    """

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
        self.elements = elements
        made = reached(irreps_in, settings.harmonics_lmax)

        def gate(irreps: set[o3.Irrep]) -> Gate:
            return Gate(o3.Irreps([(mul, ir) for mul, ir in irreps_hidden if ir in irreps]))

        def gathered(gate: Gate) -> o3.Irreps:
            return o3.Irreps([(mul, ir) for mul, ir in gate.irreps_in if ir in made])

        # If anything is reached then 0e is too, for the gates: features of l = 1, 2, … contract with the harmonics
        # of the same l that made them, in the first layer, and no layer loses an irrep.
        self.gate = gate(made)
        further = fused(irreps_in, gathered(self.gate), irreps_hidden, settings)
        while further - {ir for _, ir in self.gate.irreps_out}:
            # What the diagram alone reaches may have gates, and these may be in a leaf that reaches more.
            self.gate = gate(made | further)
            further = fused(irreps_in, gathered(self.gate), irreps_hidden, settings)
        self.convolution = Convolution(
            irreps_in,
            self.gate.irreps_in,
            lmax=settings.harmonics_lmax,
            elements=elements,
            radial=radial_sizes(settings),
            num_neighbors=num_neighbors,
        )
        self.irreps_in, self.irreps_out = self.convolution.irreps_in, self.gate.irreps_out
        self.fusion: LayerFusion | None = None
        leaf = gathered(self.gate)
        if fused(irreps_in, leaf, self.gate.irreps_in, settings):
            # Slices of what the messages make, plain numbers for the forward: without what they do not reach.
            self.parts = [
                part
                for (_, ir), part in zip(self.gate.irreps_in, self.gate.irreps_in.slices(), strict=True)
                if ir in leaf
            ]
            self.whole = leaf == self.gate.irreps_in
            self.fusion = LayerFusion(
                irreps_in, leaf, self.gate.irreps_in, {ir for _, ir in leaf}, settings, num_neighbors=num_neighbors
            )

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        gathered = self.convolution.messages(features, graph)
        made: Tensor = self.convolution(features, graph, gathered)
        if self.fusion is not None:
            leaf = gathered if self.whole else cat([gathered[:, part] for part in self.parts], dim=1)
            made = self.fusion(made, features, leaf * self.elements, graph)
        return self.gate(made)
