"""The gated layer after Rackers & Rao (arXiv 2210.04766): a convolution and a gate."""

from e3nn import o3
from torch import Tensor, cat

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.convolution import Convolution
from tesseral.models.networks.layers.layer import Layer
from tesseral.models.networks.layers.layer_fusion import LayerFusion, diagram_irreps
from tesseral.models.networks.layers.messages import message_irreps
from tesseral.models.networks.layers.nonlinearity import Gate
from tesseral.study import configuration


class GatedLayer(Layer):
    """Apply a gate to a convolution, gate(convolution(x)).

    With a fusion diagram, the diagram of x and the messages is added to the convolution before the gate
    (`tesseral.models.networks.layers.layer_fusion`). It makes gating scalars too, and irreps that the convolution does
    not reach.

    :param irreps_in: features of each atom, each irrep once.
    :param irreps_hidden: irreps wanted; those that cannot be reached are left out of `irreps_out`.
    :param settings: the `network` section, resolved.
    :param elements: number of elements E.
    :param num_neighbors: typical number of neighbours; messages are divided by its square root.
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
        reached = message_irreps(irreps_in, settings.harmonics_lmax)

        def gate(irreps: set[o3.Irrep]) -> Gate:
            return Gate(o3.Irreps([(mul, ir) for mul, ir in irreps_hidden if ir in irreps]))

        def gathered(gate: Gate) -> o3.Irreps:
            return o3.Irreps([(mul, ir) for mul, ir in gate.irreps_in if ir in reached])

        # Gates need 0e, and it is reached whenever anything is: features of order l were made with harmonics of order l
        # in the first layer, and contract with them to 0e; no layer loses an irrep.
        self.gate = gate(reached)
        further = diagram_irreps(irreps_in, gathered(self.gate), irreps_hidden, settings)
        while further - {ir for _, ir in self.gate.irreps_out}:
            # Irreps that the diagram alone reaches need gates; these enter its leaf `neighbours`, which may reach more.
            self.gate = gate(reached | further)
            further = diagram_irreps(irreps_in, gathered(self.gate), irreps_hidden, settings)
        self.convolution = Convolution(
            irreps_in, self.gate.irreps_in, settings, elements=elements, num_neighbors=num_neighbors
        )
        self.irreps_in, self.irreps_out = self.convolution.irreps_in, self.gate.irreps_out
        self.fusion: LayerFusion | None = None
        leaf = gathered(self.gate)
        if diagram_irreps(irreps_in, leaf, self.gate.irreps_in, settings):
            # Slices of the irreps that messages reach, as plain numbers for `forward`.
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
        """Convolve, add the diagram if there is one, and gate.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :returns: (atoms, irreps_out.dim).
        """
        if self.fusion is None:
            gated: Tensor = self.convolution(features, graph, gate=self.gate)
            return gated
        gathered = self.convolution.messages(features, graph)
        convolved = self.convolution(features, graph, gathered)
        leaf = gathered if self.whole else cat([gathered[:, part] for part in self.parts], dim=1)
        # Messages are divided by E; products need features of second moment 1.
        return self.gate(self.fusion(convolved, features, leaf * self.elements, graph))
