"""What training minimises of a density or a single property. Every loss is a function of the error on a batch.

Δc = c_pred − c are the errors of a density's coefficients, Δy those of a property. The loss of forces stands beside
their target, in `tesseral.models.targets.forces`.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import DensityBatch, PropertyBatch


class RawLoss(Module):
    """The mean of (Δy)² over the atoms of a batch and all columns of the layout, Δy = Δc·2√2/N.

    Columns that an element lacks count as predicted without error, as in the code of Rackers & Rao (arXiv 2210.04766):
    the mean's denominator is atoms × columns. About nine tenths of Σy² are in s shells, which dominate this loss.

    :param to_y: 2√2/N, (elements, columns); zero where an element lacks the shell.
    """

    weight: Tensor

    def __init__(self, to_y: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", to_y.square())

    def forward(self, error: Tensor, batch: DensityBatch) -> Tensor:
        """The loss of a batch.

        :param error: Δc, (atoms, columns), electron · bohr^(−3/2).
        :param batch: the structures that it is for.
        :returns: ().
        """
        return (error.square() * self.weight.index_select(0, batch.graph.species)).mean()

    def denominator(self, batch: DensityBatch) -> int:
        """Atoms × columns."""
        return batch.values.numel()


class EqualLoss(Module):
    """The mean over l of Σ(Δy)²/Σ(y − ȳ)², both sums within the block of order l.

    ȳ is the mean by element and shell for l = 0, and 0 above. The denominator is that of the training split, times the
    batch's share of its structures: so the mean over batches, weighted by their structures, is the loss of the whole
    split. Orders without any spread there are left out of the mean.

    :param y: Rackers' y over the training split, (atoms, columns).
    :param species: element of each of its atoms, (atoms,) int64.
    :param structures: number of its structures.
    :param to_y: 2√2/N, (elements, columns); zero where an element lacks the shell.
    :param order: l of each column, (columns,) int64.
    """

    weight: Tensor

    def __init__(self, y: Tensor, species: Tensor, structures: int, *, to_y: Tensor, order: Tensor) -> None:
        super().__init__()
        deviation = y.clone()
        for element in species.unique().tolist():
            atoms = (species == element).nonzero()
            scalar = (order == 0).nonzero().T
            deviation[atoms, scalar] -= deviation[atoms, scalar].mean(dim=0)
        spread = y.new_zeros(int(order.max()) + 1).index_add(0, order, deviation.square().sum(dim=0))
        by_order = torch.where(spread > 0, structures / spread, 0.0) / (spread > 0).sum().clamp(min=1)
        self.register_buffer("weight", to_y.square() * by_order[order])

    def forward(self, error: Tensor, batch: DensityBatch) -> Tensor:
        """The loss of a batch.

        :param error: Δc, (atoms, columns), electron · bohr^(−3/2).
        :param batch: the structures that it is for.
        :returns: ().
        """
        return (error.square() * self.weight.index_select(0, batch.graph.species)).sum() / batch.size

    def denominator(self, batch: DensityBatch) -> int:
        """Structures."""
        return batch.size


class OverlapLoss(Module):
    """The mean over structures of ∫(Δρ)² = Δcᵀ S Δc, electron² · bohr⁻³."""

    def forward(self, error: Tensor, batch: DensityBatch) -> Tensor:
        """The loss of a batch.

        :param error: Δc, (atoms, columns), electron · bohr^(−3/2).
        :param batch: the structures that it is for.
        :returns: ().
        """
        return batch.squared_norms(error).mean()

    def denominator(self, batch: DensityBatch) -> int:
        """Structures."""
        return batch.size


class CoulombLoss(Module):
    """The mean over structures of ∫∫Δρ(r)Δρ(r′)/|r − r′| = Δcᵀ J Δc, hartree."""

    def forward(self, error: Tensor, batch: DensityBatch) -> Tensor:
        """The loss of a batch.

        :param error: Δc, (atoms, columns), electron · bohr^(−3/2).
        :param batch: the structures that it is for.
        :returns: ().
        """
        return batch.squared_norms(error, batch.coulomb).mean()

    def denominator(self, batch: DensityBatch) -> int:
        """Structures."""
        return batch.size


class SquaredLoss(Module):
    """The mean of (Δy / spread)² over the rows of a batch (structures, or atoms) and all components.

    An error as large as the baseline's has a loss of 1. Components without spread are left out of the sum.

    :param spread: of each component over the training split, (components,), the same for all components of one copy
        of an irrep.
    """

    weight: Tensor

    def __init__(self, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", inverse_square(spread))

    def forward(self, error: Tensor, batch: PropertyBatch) -> Tensor:
        """The loss of a batch.

        :param error: Δy, (rows, components).
        :param batch: the structures that it is for.
        :returns: ().
        """
        return (error.square() * self.weight).mean()

    def denominator(self, batch: PropertyBatch) -> int:
        """Rows × components."""
        return batch.values.numel()


class WeightedLoss(Module):
    """A loss, which is quadratic in the error, of the error times the root of a weight for each order l.

    Where a loss is a sum over orders, each order's term is multiplied by its weight. Overlap and Coulomb losses couple
    orders on neighbouring atoms: there, the density Σ_l √w_l Δρ_l takes the place of Δρ.

    :param loss: of the whole error.
    :param order: l of each column, (columns,) int64.
    :param weights: of l = 0, 1, 2, …; the last one holds for all higher l.
    """

    factor: Tensor

    def __init__(self, loss: Module, order: Tensor, weights: Sequence[float]) -> None:
        super().__init__()
        self.loss = loss
        roots = torch.tensor(weights, dtype=torch.float64, device=order.device).sqrt()
        self.register_buffer("factor", roots[order.clamp(max=len(weights) - 1)])

    def forward(self, error: Tensor, batch: Any) -> Tensor:
        """The loss of a batch.

        :param error: (rows, columns).
        :param batch: the structures that it is for.
        :returns: ().
        """
        loss: Tensor = self.loss(error * self.factor.to(error), batch)
        return loss

    def denominator(self, batch: Any) -> int:
        """That of the loss of the whole error."""
        return cast(Any, self.loss).denominator(batch)


def weighted(loss: Module, order: Tensor, weights: Sequence[float] | None) -> Any:
    """The loss with a weight for each order; itself without weights.

    :param loss: quadratic in the error.
    :param order: l of each column, (columns,) int64.
    :param weights: as `loss.orders`.
    """
    return loss if weights is None else WeightedLoss(loss, order, weights)


def inverse_square(spread: Tensor) -> Tensor:
    """1/s², and 0 where there is no spread.

    :param spread: s, of any shape.
    """
    return torch.where(spread > 0, spread.square().reciprocal(), 0.0)
