"""What training minimises, by name. Every loss is a function of Δc = c_predicted − c on a batch.

Each is a sum divided by `denominator(batch)`, which adds up over parts of a batch. So the loss of the whole is the mean
of the parts' losses, weighted by their denominators.
"""

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data_set import Batch
from tesseral.models.target import DensityTarget
from tesseral.study.configuration import Loss


class RawLoss(Module):
    """The mean of (Δy)² over the atoms of a batch and all columns of the layout, Δy = Δc·2√2/N (Rackers & Rao).

    Columns that an element lacks count as predicted without error, as in the authors' code: the mean's denominator
    is atoms × columns. s shells hold about nine tenths of Σy², so they rule this loss.
    """

    weight: Tensor

    def __init__(self, target: DensityTarget) -> None:
        super().__init__()
        self.register_buffer("weight", target.to_y.square())

    def forward(self, error: Tensor, batch: Batch) -> Tensor:
        """:param error: Δc, (atoms, columns)."""
        return (error.square() * self.weight.index_select(0, batch.graph.species)).mean()

    def denominator(self, batch: Batch) -> int:
        """Atoms × columns."""
        return batch.coefficients.numel()


class EqualLoss(Module):
    """The mean over l of Σ(Δy)²/Σ(y − ȳ)², both sums within the block of order l.

    ȳ is the mean by element and shell for l = 0, and 0 above. The denominator is that of the training split, times the
    batch's share of its structures: so the mean over batches, weighted by their structures, is the loss of the whole
    split. Orders without any spread there are left out of the mean.

    :param coefficients: of the training split, (atoms, columns).
    :param species: of its atoms.
    :param structures: of the split.
    """

    weight: Tensor

    def __init__(self, target: DensityTarget, coefficients: Tensor, species: Tensor, structures: int) -> None:
        super().__init__()
        y = target.y(coefficients.to(target.to_y.dtype), species)
        for element in species.unique().tolist():
            atoms = (species == element).nonzero()
            scalar = (target.order == 0).nonzero().T
            y[atoms, scalar] -= y[atoms, scalar].mean(dim=0)
        spread = y.new_zeros(int(target.order.max()) + 1).index_add(0, target.order, y.square().sum(dim=0))
        by_order = torch.where(spread > 0, structures / spread, 0.0) / (spread > 0).sum().clamp(min=1)
        self.register_buffer("weight", target.to_y.square() * by_order[target.order])

    def forward(self, error: Tensor, batch: Batch) -> Tensor:
        """:param error: Δc, (atoms, columns)."""
        return (error.square() * self.weight.index_select(0, batch.graph.species)).sum() / batch.size

    def denominator(self, batch: Batch) -> int:
        """Structures."""
        return batch.size


class OverlapLoss(Module):
    """The mean over structures of ∫(Δρ)² = Δcᵀ S Δc, electron² · bohr⁻³."""

    def forward(self, error: Tensor, batch: Batch) -> Tensor:
        """:param error: Δc, (atoms, columns)."""
        return squared_norms(error, batch).mean()

    def denominator(self, batch: Batch) -> int:
        """Structures."""
        return batch.size


def squared_norms(coefficients: Tensor, batch: Batch) -> Tensor:
    """∫ρ² = cᵀ S c of each structure, (structures,), from (atoms, columns)."""
    vectors = coefficients.reshape(-1)[batch.filled]
    return (vectors * torch.bmm(batch.overlap, vectors[..., None])[..., 0]).sum(dim=1)


def build_loss(
    settings: Loss, target: DensityTarget, coefficients: Tensor, species: Tensor, structures: int
) -> RawLoss | EqualLoss | OverlapLoss:
    """The loss that the configuration names, in the precision of the target; the rest as for `EqualLoss`."""
    if settings.name == "raw":
        return RawLoss(target)
    if settings.name == "equal":
        return EqualLoss(target, coefficients, species, structures)
    return OverlapLoss()
