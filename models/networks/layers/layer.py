"""What every layer is to the network: features of each atom in, features of each atom out, both by irreps."""

from e3nn import o3
from torch.nn import Module


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
