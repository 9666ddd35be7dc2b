"""A bound on what enters a product of features with features."""

from e3nn import o3
from torch import Tensor, cat
from torch.nn import Identity, Module

from tesseral.study import configuration


class Saturation(Module):
    """x_l ↦ x_l √(2/(1 + mean x_l²)) for each irrep l by itself, the mean over an atom's copies and components of it:
    features of second moment 1 stay what they are, and no atom's exceed 2.

    Products of two, layer after layer, have features' size to a power that doubles with each, and without a bound a
    start in some dozens diverges. The norm of all copies of an irrep does not turn, so the bound is equivariant; no
    irrep feels another, so which of them a product reads is what its paths say. But it makes what a product returns no
    polynomial: a correlation, or the order of a diagram, counts the factors that meet, not the body order. Neither MACE
    nor Cormorant has it: `network.saturation = false` is without.

    :param irreps: of what is bounded.
    """

    def __init__(self, irreps: o3.Irreps) -> None:
        super().__init__()
        self.sizes = [term.dim for term in o3.Irreps(irreps)]

    def forward(self, features: Tensor) -> Tensor:
        """(atoms, irreps.dim) ↦ the same shape."""
        if not self.sizes:
            return features
        parts = features.split(self.sizes, dim=1)
        return cat([part * (2 / (1 + part.square().mean(dim=1, keepdim=True))).sqrt() for part in parts], dim=1)


def bounded(irreps: o3.Irreps, settings: configuration.Network) -> Module:
    """`Saturation` of these irreps; what leaves them as they are where `settings.saturation` is false."""
    return Saturation(irreps) if settings.saturation else Identity()
