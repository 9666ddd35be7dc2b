"""What training minimises, by name. Every loss is a function of the error on a batch: of a density Δc = c_pred − c.

Each is a sum divided by `denominator(batch)`, which adds up over parts of a batch. So the loss of the whole is the mean
of the parts' losses, weighted by their denominators.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.data_set import Batch
from tesseral.models.targets.density import DensityTarget, squared_norms
from tesseral.models.targets.forces import ForceTarget
from tesseral.models.targets.model import Model
from tesseral.models.targets.property import PropertyTarget
from tesseral.models.targets.property_loss import ForceLoss, SquaredLoss
from tesseral.models.targets.target import Target
from tesseral.study import configuration


class Loss(Protocol):
    """A mean over a batch, and what it is the mean over."""

    def __call__(self, error: Any, batch: Batch) -> Tensor:
        """The loss of a batch, ()."""

    def denominator(self, batch: Batch) -> int:
        """What the batch's sum is divided by: it adds up over the parts of a batch."""

    def to(self, dtype: torch.dtype) -> Any:
        """As a module's."""


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
        return batch.values.numel()


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


class CoulombLoss(Module):
    """The mean over structures of ∫∫Δρ(r)Δρ(r′)/|r − r′| = Δcᵀ J Δc, hartree."""

    def forward(self, error: Tensor, batch: Batch) -> Tensor:
        """:param error: Δc, (atoms, columns)."""
        return squared_norms(error, batch, batch.coulomb).mean()

    def denominator(self, batch: Batch) -> int:
        """Structures."""
        return batch.size


def build_loss(settings: configuration.Loss, target: Target, structures: Sequence[Batch]) -> Loss:
    """The loss that the configuration names, in the precision of the target.

    :param settings: resolved: it fits the target.
    :param structures: of the training split.
    :raises DataError: as `ForceLoss`.
    """
    if isinstance(target, ForceTarget):
        return ForceLoss(target, settings, bool(structures[0].energy.shape[1]))
    if isinstance(target, PropertyTarget):
        return SquaredLoss(target)
    if not isinstance(target, DensityTarget):
        raise TypeError(f"expected a target with a loss, got {type(target).__name__}")
    if settings.name == "raw":
        return RawLoss(target)
    if settings.name == "equal":
        coefficients = torch.cat([one.values for one in structures])
        return EqualLoss(target, coefficients, torch.cat([one.graph.species for one in structures]), len(structures))
    return CoulombLoss() if settings.name == "coulomb" else OverlapLoss()


def parted(indices: Sequence[int], parts: int) -> list[Sequence[int]]:
    """At most `parts` runs of the indices, in their order: none empty, and of sizes that differ by one at most."""
    count = min(parts, len(indices))
    return [indices[i:j] for i, j in pairwise(len(indices) * k // count for k in range(count + 1))]


def partial_losses(model: Model, loss: Loss, batches: Sequence[Batch]) -> Iterator[Tensor]:
    """Of each batch its part, (), of the loss of all of them together, computed when it is asked for.

    So the gradients of one can be taken, and its memory freed, before the next is computed.
    """
    whole = sum(loss.denominator(batch) for batch in batches)
    for batch in batches:
        mean = loss(model.target.error(model(batch.graph), batch), batch)
        yield mean * (loss.denominator(batch) / whole)
