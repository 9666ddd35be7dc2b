"""The linear readout: outputs of every layer's features, none of which looks at a neighbour again."""

from e3nn import o3
from torch import Tensor, cat
from torch.nn import Module


class LinearReadout(Module):
    """out = Σ_t L_t x_t over the layers t, each L_t linear.

    The sum is one linear map of all features, so that weights of variance 1 keep the features' second moment however
    many layers there are. Irreps that no layer has are zero.

    :param layers: irreps of each layer's features.
    :param irreps_out: what is made of them.
    """

    def __init__(self, layers: list[o3.Irreps], irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.irreps_in = o3.Irreps([mul_ir for irreps in layers for mul_ir in irreps])
        self.irreps_out = o3.Irreps(irreps_out)
        self.linear = o3.Linear(self.irreps_in, self.irreps_out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out})"

    def forward(self, features: list[Tensor]) -> Tensor:
        """Of each layer (atoms, its irreps.dim) ↦ (atoms, irreps_out.dim)."""
        made: Tensor = self.linear(cat(features, dim=1))
        return made
