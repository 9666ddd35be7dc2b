"""The interface of a layer: features of each atom in, features of each atom out, both with their irreps stated."""

from e3nn import o3
from torch import Tensor, cat
from torch.nn import Module

from tesseral.models.networks.graph import Graph


class Layer(Module):
    """A layer of a network. The next layer, the traces and the readout all rely on the irreps that it states.

    Its forward takes features (atoms, irreps_in.dim) and a `tesseral.models.networks.graph.Graph`, and returns
    (atoms, irreps_out.dim).
    """

    irreps_in: o3.Irreps
    irreps_out: o3.Irreps

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{self.irreps_in} -> {self.irreps_out}"


def shared_irreps(irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> set[o3.Irrep]:
    """The irreps with equal multiplicities in both: those that a residual connection can add.

    :param irreps_in: each irrep once.
    :param irreps_out: each irrep once.
    """
    return {ir for mul, ir in irreps_out if mul == o3.Irreps(irreps_in).count(ir)}


class Residual(Layer):
    """Add a layer's input to its output, (layer(x) + x)/√2, for every irrep with equal multiplicities in both.

    Other irreps stay as the layer returns them. The factor 1/√2 keeps the second moment of independent terms.

    :param layer: takes features and graph; states sorted `irreps_in` and `irreps_out`, each irrep once.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.irreps_in, self.irreps_out = o3.Irreps(layer.irreps_in), o3.Irreps(layer.irreps_out)
        shared = shared_irreps(self.irreps_in, self.irreps_out)
        sources = {ir: part for (_, ir), part in zip(self.irreps_in, self.irreps_in.slices(), strict=True)}
        # Slices of input and output, as plain numbers for `forward`: torch.compile cannot trace irreps.
        self.parts = [
            (sources[ir] if ir in shared else None, part)
            for (_, ir), part in zip(self.irreps_out, self.irreps_out.slices(), strict=True)
        ]

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """Run the layer and add its input.

        :param features: (atoms, irreps_in.dim).
        :param graph: elements and edges.
        :returns: (atoms, irreps_out.dim).
        """
        outputs: Tensor = self.layer(features, graph)
        parts = [
            outputs[:, target] if source is None else (outputs[:, target] + features[:, source]) * 0.5**0.5
            for source, target in self.parts
        ]
        return cat(parts, dim=1) if parts else outputs
