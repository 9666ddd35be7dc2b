"""Equivariant nonlinearities: the gate, and the saturation of what enters a product of features.

A function of single components commutes with rotations for scalars only. Other irreps are therefore multiplied by
invariants: learned scalars in a `Gate`, a function of the irrep's own norm in `Saturation`.
"""

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Identity, Module

from tesseral.study import configuration


def moment_factor(function: Callable[[Tensor], Tensor]) -> float:
    """The factor (∫ f(z)² exp(−z²/2)/√(2π) dz)^(−½), with which f(z) has a second moment of 1 for standard normal z.

    :param function: elementwise, float64 to float64.
    """
    # The trapezoidal rule converges exponentially for smooth functions under a Gaussian; the error here is below 1e-13.
    z = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    density = (-z.square() / 2).exp() / sqrt(2 * pi)
    return float(torch.trapezoid(function(z).square() * density, z)) ** -0.5


_SILU = moment_factor(torch.nn.functional.silu)
_TANH = moment_factor(torch.tanh)
_SIGMOID = moment_factor(torch.sigmoid)
FACTORS = _SILU, _TANH, _SIGMOID
"""By which silu, tanh and sigmoid are multiplied, for a second moment of 1."""


def normalized_silu(x: Tensor) -> Tensor:
    """silu(x) = x·sigmoid(x), scaled by `moment_factor`.

    :param x: of any shape.
    """
    return torch.nn.functional.silu(x) * _SILU


class Gate(Module):
    """Apply an activation to scalars, and multiply every copy of any other irrep by an activated scalar of its own:

        0e ↦ silu(0e),   0o ↦ tanh(0o),   x ↦ sigmoid(g)·x.

    tanh is odd, so pseudoscalars keep their parity. Each activation is scaled to a second moment of 1
    (`moment_factor`). The gates g are additional 0e inputs, so hidden features without scalars can be gated too.
    After Weiler et al., arXiv 1807.02547.

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
        # spread[g, i] = 1 where component i belongs to the copy that gate g multiplies. Multiplying by it is much
        # faster on CPUs than a gather, whose backward pass adds one column at a time.
        sizes = torch.tensor([ir.dim for mul, ir in gated for _ in range(mul)], dtype=torch.long)
        owner = torch.repeat_interleave(torch.arange(self.gates), sizes)
        spread = torch.nn.functional.one_hot(owner, self.gates).T if self.gates else torch.zeros(0, 0)
        self.register_buffer("spread", spread.to(torch.get_default_dtype()), persistent=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out})"

    def forward(self, x: Tensor) -> Tensor:
        """Activate scalars, and scale all other irreps by theirs.

        :param x: (atoms, irreps_in.dim).
        :returns: (atoms, irreps_out.dim).
        """
        even, gates, odd, gated = x.split(self.sizes, dim=-1)
        parts = []
        if self.even:
            parts.append(normalized_silu(even))
        if self.odd:
            parts.append(torch.tanh(odd) * _TANH)
        if self.gates:
            parts.append((torch.sigmoid(gates) * _SIGMOID) @ self.spread * gated)
        return torch.cat(parts, dim=-1) if parts else x

    def planned(self) -> dict[str, Any]:
        """What a `ConvolutionPlan` knows of a gate."""
        return {
            "gate": [(ir.dim, mul) for mul, ir in self.irreps_out if ir.l > 0],
            "scalars": (self.even, self.gates, self.odd),
        }


class Saturation(Module):
    """Bound the size of each irrep's features, for each atom:

        x_l ↦ x_l √(2 / (1 + ⟨x_l²⟩)),

    where ⟨x_l²⟩ is the mean over the irrep's copies and components. Features of second moment 1 are unchanged, and no
    second moment exceeds 2.

    A product of two features squares their size, layer after layer; without a bound, some initialisations of deep
    networks diverge. The mean is invariant, so the map is equivariant, and every irrep is scaled by itself, so which
    irreps a product depends on still follows from its paths. The price: products of saturated features are no
    polynomials of the messages, so correlation and diagram order count factors, and are not body orders. MACE and
    Cormorant have no such bound; `network.saturation = false` leaves it out.

    :param irreps: irreps of the features, each once.
    """

    irrep: Tensor
    sizes: Tensor

    def __init__(self, irreps: o3.Irreps) -> None:
        super().__init__()
        sizes = torch.tensor([term.dim for term in o3.Irreps(irreps)], dtype=torch.int64)
        self.register_buffer("irrep", torch.arange(len(sizes)).repeat_interleave(sizes), persistent=False)
        self.register_buffer("sizes", sizes.to(torch.get_default_dtype()), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Bound each irrep's features.

        :param features: (atoms, irreps.dim).
        :returns: the same shape.
        """
        # All irreps at once: forces take two further derivatives of every operation.
        sums = features.new_zeros(features.shape[0], self.sizes.shape[0]).index_add(1, self.irrep, features.square())
        return features * (2 / (1 + sums / self.sizes)).sqrt().index_select(1, self.irrep)


def saturation(irreps: o3.Irreps, settings: configuration.Network) -> Module:
    """`Saturation`, or the identity if `settings.saturation` is false.

    :param irreps: of the features, each once.
    :param settings: the `network` section.
    """
    return Saturation(irreps) if settings.saturation else Identity()
