"""The gate: scalars pass an activation, every other irrep is multiplied by a scalar made for it."""

from collections.abc import Callable
from math import pi, sqrt

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module


def moment_factor(function: Callable[[Tensor], Tensor]) -> float:
    """(∫ f(z)² exp(−z²/2)/√(2π) dz)^(−½): times this, f keeps the second moment of a normal variable at 1."""
    # The trapezoidal rule converges exponentially for smooth functions under a Gaussian: exact to 1e-13 here.
    z = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    density = (-z.square() / 2).exp() / sqrt(2 * pi)
    return float(torch.trapezoid(function(z).square() * density, z)) ** -0.5


_SILU = moment_factor(torch.nn.functional.silu)
_TANH = moment_factor(torch.tanh)
_SIGMOID = moment_factor(torch.sigmoid)


def normalized_silu(x: Tensor) -> Tensor:
    """silu(x) = x·sigmoid(x), scaled to a second moment of 1."""
    return torch.nn.functional.silu(x) * _SILU


class Gate(Module):
    """0e ↦ silu(0e); 0o ↦ tanh(0o), which keeps its parity; x ↦ sigmoid(g)·x for each copy of any other irrep.

    Each activation is scaled to a second moment of 1 (`moment_factor`). The gates g are 0e scalars of their own, so
    that hidden features without scalars have them too. After Weiler et al., arXiv 1807.02547.

    :param irreps_out: features after the gate, sorted by l, even before odd.
    """

    spread: Tensor

    def __init__(self, irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps(irreps_out)
        gated = o3.Irreps([(mul, ir) for mul, ir in self.irreps_out if ir.l > 0])
        self.even, self.odd = self.irreps_out.count("0e"), self.irreps_out.count("0o")
        self.gates = gated.num_irreps
        self.sizes = [self.even, self.gates, self.odd, gated.dim]
        scalars = o3.Irreps([(self.even + self.gates, "0e"), (self.odd, "0o")])
        self.irreps_in = (scalars + gated).remove_zero_multiplicities()
        # spread[g, i] = 1 where component i belongs to the copy that gate g multiplies. A product with it is much
        # faster on CPUs than a gather, whose gradient adds one column at a time.
        sizes = torch.tensor([ir.dim for mul, ir in gated for _ in range(mul)], dtype=torch.long)
        owner = torch.repeat_interleave(torch.arange(self.gates), sizes)
        spread = torch.nn.functional.one_hot(owner, self.gates).T if self.gates else torch.zeros(0, 0)
        self.register_buffer("spread", spread.to(torch.get_default_dtype()), persistent=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out})"

    def forward(self, x: Tensor) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        even, gates, odd, gated = x.split(self.sizes, dim=-1)
        parts = []
        if self.even:
            parts.append(normalized_silu(even))
        if self.odd:
            parts.append(torch.tanh(odd) * _TANH)
        if self.gates:
            parts.append((torch.sigmoid(gates) * _SIGMOID) @ self.spread * gated)
        return torch.cat(parts, dim=-1) if parts else x
