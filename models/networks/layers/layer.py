"""What every layer is to the network: features of each atom in, features of each atom out, both by irreps."""

from e3nn import o3
from torch import Tensor, cat
from torch.nn import Module

from tesseral.models.networks.graph import Graph


class Layer(Module):
    """A layer states its irreps, so that the next one, traces and readers know them.

    Its forward takes features (atoms, irreps_in.dim) and a `tesseral.models.networks.graph.Graph`, and returns
    (atoms, irreps_out.dim).
    """

    irreps_in: o3.Irreps
    irreps_out: o3.Irreps

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{self.irreps_in} -> {self.irreps_out}"


def shared_irreps(irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> set[o3.Irrep]:
    """The irreps of which both have equally many."""
    return {ir for mul, ir in irreps_out if mul == o3.Irreps(irreps_in).count(ir)}


class Residual(Layer):
    """(layer(x) + x)/√2 for every irrep of which the layer takes and makes equally many; others as the layer makes.

    :param layer: called with features and graph; states sorted `irreps_in` and `irreps_out`, each irrep once.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.irreps_in, self.irreps_out = o3.Irreps(layer.irreps_in), o3.Irreps(layer.irreps_out)
        shared = shared_irreps(self.irreps_in, self.irreps_out)
        sources = {ir: part for (_, ir), part in zip(self.irreps_in, self.irreps_in.slices(), strict=True)}
        # Slices of the input and the output, plain numbers for the forward.
        self.parts = [
            (sources[ir] if ir in shared else None, part)
            for (_, ir), part in zip(self.irreps_out, self.irreps_out.slices(), strict=True)
        ]

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        made: Tensor = self.layer(features, graph)
        parts = [
            made[:, target] if source is None else (made[:, target] + features[:, source]) * 0.5**0.5
            for source, target in self.parts
        ]
        return cat(parts, dim=1) if parts else made
