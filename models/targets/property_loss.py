"""What training minimises of other targets than the density. As `tesseral.models.targets.loss`: sums over a
denominator."""

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.data_set import Batch
from tesseral.models.targets.forces import EnergyForces, ForceTarget
from tesseral.models.targets.property import PropertyTarget
from tesseral.study import configuration
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError


class SquaredLoss(Module):
    """The mean of (Δy / spread)² over the rows of a batch (structures, or atoms) and all components.

    The spread is that of each copy of an irrep over the training split, so an error of 1 is that of the baseline.
    Components without spread are left out of the sum.
    """

    weight: Tensor

    def __init__(self, target: PropertyTarget) -> None:
        super().__init__()
        self.register_buffer("weight", _inverse_square(target.spread))

    def forward(self, error: Tensor, batch: Batch) -> Tensor:
        """:param error: Δy, (rows, dim)."""
        return (error.square() * self.weight).mean()

    def denominator(self, batch: Batch) -> int:
        """Rows × components."""
        return batch.values.numel()


class ForceLoss(Module):
    """The mean over structures of 1/N · [w_F · Σ|ΔF|²/(3 s_F²) + w_E · ΔE²/(s_F · 1 Å)²], N the structure's atoms.

    s_F is the root mean square of a force's components over the training split. Energies count where the reference has
    them, in units of what such a force does over 1 Å: in units of their own spread, which is small where all structures
    are of one molecule, they kept 625 steps from learning any force.

    :raises DataError: if only energies have a weight, and there are none.
    """

    weight: Tensor
    """Of (ΔF)² and (ΔE)², (2,)."""

    def __init__(self, target: ForceTarget, settings: configuration.Loss, energies: bool) -> None:
        super().__init__()
        if not settings.forces and not energies:
            raise DataError("loss.forces: expected a weight above 0, for the reference data have no energies, got 0")
        weight = torch.stack([_inverse_square(target.spread), _inverse_square(target.spread / BOHR)])
        self.register_buffer("weight", weight * weight.new_tensor([settings.forces, settings.energy]))

    def forward(self, error: EnergyForces, batch: Batch) -> Tensor:
        """:param error: ΔF and ΔE."""
        graph = batch.graph
        atoms = error.forces.new_zeros(batch.size).index_add(
            0, graph.structure, error.forces.new_ones(len(error.forces))
        )
        squares = error.forces.square().mean(dim=1) / atoms.index_select(0, graph.structure)
        loss = self.weight[0] * squares.sum()
        if error.energy.shape[1]:
            loss = loss + self.weight[1] * (error.energy[:, 0].square() / atoms).sum()
        return loss / batch.size

    def denominator(self, batch: Batch) -> int:
        """Structures."""
        return batch.size


def _inverse_square(spread: Tensor) -> Tensor:
    """1/s², and 0 where there is no spread."""
    return torch.where(spread > 0, spread.square().reciprocal(), 0.0)
