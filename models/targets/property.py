"""Properties as targets: energies, multipoles and whatever else is pooled from outputs on the atoms."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tesseral.models.data.batch import PropertyBatch
from tesseral.models.networks.graph import Graph
from tesseral.models.targets.loss import SquaredLoss, weighted
from tesseral.models.targets.pooling import POOLINGS, atoms, components, dipole, mean, total
from tesseral.models.targets.target import Loss, Target, Value
from tesseral.study import configuration
from tesseral.study.configuration.quantities import Quantity
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError
from tesseral.study.parsing.irreps import MulIrrep

VANISHING = 1e-10
"""A spread below this, relative to the largest value, is rounding: the baseline meets all values exactly."""


class PropertyTarget(Target[PropertyBatch, Tensor]):
    """y = baseline + pooling(factor · outputs), the pooling a sum or mean over the atoms, or each atom's own.

    The baseline is fitted on the training split, for invariants alone: a mean of anything else would turn with the
    frame. It is Σ_i a(Z_i) for an extensive quantity, with a number a for each element by least squares; the mean for
    an intensive quantity; a(Z_i) for a quantity of the atoms. Where the split leaves some a undetermined, the solution
    of smallest norm is taken: water alone cannot tell oxygen from hydrogen.

    The spread is √(mean over rows and components of (y − baseline)²), one for each copy of an irrep. With scale
    `spread` the factor is the spread; for a sum it is the spread over √N̄, N̄ the mean number of atoms, since so many
    independent outputs add up to the spread. With `none` it is 1: outputs are in the quantity's unit.

    Predictions, baseline and errors are in double precision: the last digits of an energy are what is learnt.

    :param quantity: known in full, of one of the poolings in `POOLINGS`.
    :param elements: number of elements.
    :param scale: as `target.scale`.
    """

    baseline: Tensor
    """(2, elements, dim): a rounded to single precision, and the rest. The sum of the two keeps its digits even in a
    model that is rounded to single precision."""
    spread: Tensor
    """(dim,), in the quantity's unit."""
    factor: Tensor
    """(dim,)."""
    charge_factor: Tensor
    """(), e for each unit of output, of a `DipoleTarget`. Other targets hold it as 1, since it is in the checkpoints of
    all of them."""
    order: Tensor
    """(dim,) int64, l of each component."""
    copy: Tensor
    """(dim,) int64, number of the copy of an irrep that the component belongs to."""
    invariant: Tensor
    """(dim,) bool, whether the component is 0e."""

    def __init__(self, quantity: Quantity, elements: int, scale: Literal["spread", "none"]) -> None:
        super().__init__()
        self.quantity, self.scale = quantity, scale
        self.irreps: tuple[MulIrrep, ...] = quantity.irreps or ()
        self.outputs = quantity.outputs or ()
        order, copy, invariant = components(self.irreps)
        self.register_buffer("order", order)
        self.register_buffer("copy", copy)
        self.register_buffer("invariant", invariant)
        self.register_buffer("baseline", torch.zeros(2, elements, len(order), dtype=torch.float64))
        self.register_buffer("spread", torch.ones(len(order), dtype=torch.float64))
        self.register_buffer("factor", torch.ones(len(order), dtype=torch.float64))
        self.register_buffer("charge_factor", torch.ones((), dtype=torch.float64))

    def standardise(self, structures: Sequence[PropertyBatch]) -> None:
        """Fit baseline, spread and factor to a training split, as the class says.

        :param structures: of the training split.
        :raises DataError: if no component has any spread.
        """
        self.fit(
            torch.cat([structure.values for structure in structures]), [structure.graph for structure in structures]
        )
        if not self.spread.any():
            raise DataError(
                f"target.quantity: expected a target that varies over the training split, {self.quantity.name} does "
                "not, beyond what the elements of a structure tell"
            )

    def fit(self, values: Tensor, graphs: Sequence[Graph]) -> None:
        """Fit baseline, spread and factor, where all spreads may vanish.

        :param values: (structures or atoms, dim), in the order of the graphs.
        :param graphs: of the training split.
        """
        counts = self._counts(graphs)
        solution = np.zeros((counts.shape[1], len(self.order)))
        chosen = self.invariant.cpu().numpy()
        numbers = values.double().cpu().numpy()
        if self.quantity.additive:
            solution[:, chosen] = np.linalg.lstsq(counts, numbers[:, chosen], rcond=None)[0]
        else:
            solution[:, chosen] = numbers[:, chosen].mean(axis=0)
        # The mean of an intensive quantity stands for every element, so Σ_i a(Z_i) / N gives it back.
        residual = numbers - counts @ solution / (1 if self.quantity.additive else counts.sum(axis=1, keepdims=True))
        squares = torch.from_numpy(np.square(residual).mean(axis=0))
        copy = self.copy.cpu()
        widths = torch.bincount(copy)
        spread = (torch.zeros(len(widths), dtype=torch.float64).index_add(0, copy, squares) / widths).sqrt()[copy]
        largest = torch.from_numpy(np.abs(numbers).max(axis=0, initial=0.0))
        spread[spread <= VANISHING * largest] = 0
        high = torch.from_numpy(solution).float().double()
        self.baseline.copy_(torch.stack([high, torch.from_numpy(solution) - high]))
        self.spread.copy_(spread)
        if self.scale == "spread":
            atoms = float(counts.sum()) / len(counts)
            self.factor.copy_(spread / atoms**0.5 if self.quantity.summed else spread)

    def _counts(self, graphs: Sequence[Graph]) -> np.ndarray:
        """Atoms of each element in each row of the values, (rows, elements)."""
        elements = self.baseline.shape[1]
        counts = []
        for graph in graphs:
            row = graph.structure
            if self.quantity.per == "atom":
                row = torch.arange(graph.species.shape[0], device=row.device)
            rows = row.shape[0] if self.quantity.per == "atom" else graph.size
            counted = torch.bincount(row * elements + graph.species, minlength=rows * elements)
            counts.append(counted.reshape(rows, elements).double())
        return torch.cat(counts).cpu().numpy()

    def offset(self, graph: Graph) -> Tensor:
        """The baseline of each row of values.

        :param graph: of one structure or several.
        :returns: (structures or atoms, dim), float64, in the quantity's unit.
        """
        atoms = self.baseline.double().sum(dim=0).index_select(0, graph.species)
        if self.quantity.per == "atom":
            return atoms
        return total(atoms, graph) if self.quantity.additive else mean(atoms, graph)

    def read(self, outputs: Tensor, graph: Graph) -> Tensor:
        """Baseline plus pooled outputs.

        :param outputs: (atoms, dimension of `outputs`).
        :param graph: of the same atoms.
        :returns: (structures or atoms, dim), float64, in the quantity's unit.
        """
        return self.offset(graph) + self.pool(outputs, graph).double()

    def pool(self, outputs: Tensor, graph: Graph) -> Tensor:
        """The prediction less its baseline.

        :param outputs: (atoms, dimension of `outputs`).
        :param graph: of the same atoms.
        :returns: (structures or atoms, dim), in the quantity's unit and the precision of the outputs.
        """
        return POOLINGS[self.quantity.pooling](outputs * self.factor, graph)

    def build_loss(
        self, settings: configuration.Loss, structures: Sequence[PropertyBatch]
    ) -> Loss[Tensor, PropertyBatch]:
        """As `Target.build_loss`.

        :param settings: of which the weights of orders count; a property has one loss.
        :param structures: of the training split.
        :raises DataError: if no order of the target has a weight.
        """
        weights = settings.orders
        if weights is not None and not any(weights[min(order, len(weights) - 1)] for order in self.order.tolist()):
            raise DataError(
                f"loss.orders: expected a weight above 0 for an order of {self.quantity.name}, got {[*weights]}"
            )
        return weighted(SquaredLoss(self.spread), self.order, weights)

    def sums(self, error: Tensor, batch: PropertyBatch) -> dict[str, Tensor]:
        """Σ|err| of the whole and by l, Σerr² and Σ(y − baseline)² by l, the number of rows, and Σ|err| of components.

        Of an energy, Σ|err|/N too, N the number of atoms.

        :param error: (rows, dim), in the quantity's unit.
        :param batch: the structures that it is for.
        :returns: name → (), or (largest l + 1,) for sums by l; float64.
        """
        error = error.double()
        orders = torch.nn.functional.one_hot(self.order).double()
        squares = error.square() @ orders
        per_atom = {}
        if "energy_error_per_atom" in self.quantity.metrics:
            per_atom = {"per_atom": (error.abs()[:, 0] / atoms(batch.graph, error)).sum()}
        return per_atom | {
            "length": squares.sum(dim=1).sqrt().sum(),
            "length_by_order": squares.sqrt().sum(dim=0),
            "error": squares.sum(dim=0),
            "spread": ((batch.values - self.offset(batch.graph)).square() @ orders).sum(dim=0),
            "rows": error.new_tensor(len(error)),
            "components": error.abs().sum(),
        }

    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """`error` and `relative_error`, by l too if there are several orders, and the errors of components. Without
        spread there is no `relative_error`.

        :param sums: of a whole split.
        """
        orders = sorted(set(self.order.tolist()))
        rows = float(sums["rows"])
        values = [Value("error", None, float(sums["length"]) / rows)]
        values += _relative(None, sums["error"].sum(), sums["spread"].sum())
        for order in orders if len(orders) > 1 else ():
            values.append(Value("error", order, float(sums["length_by_order"][order]) / rows))
            values += _relative(order, sums["error"][order], sums["spread"][order])
        numbers = rows * len(self.order)
        if "component_mae" in self.quantity.metrics:
            values.append(Value("component_mae", None, float(sums["components"]) / numbers))
        values.append(Value("component_rmse", None, (float(sums["error"].sum()) / numbers) ** 0.5))
        if "per_atom" in sums:
            values.append(Value("energy_error_per_atom", None, float(sums["per_atom"]) / rows))
        return values


class DipoleTarget(PropertyTarget):
    """A dipole as Σ_i q_i (r_i − C) + d_i, from a charge q_i and a vector d_i on each atom.

    With scale `spread` the charges have the factor of the vectors over the root mean square distance of the atoms from
    the centre C, so that both terms begin with the same size.
    """

    def fit(self, values: Tensor, graphs: Sequence[Graph]) -> None:
        """As `PropertyTarget.fit`, and the factor of the charges.

        :param values: (structures, 3), e·bohr.
        :param graphs: of the training split.
        """
        super().fit(values, graphs)
        if self.scale == "spread":
            distance = torch.cat([_squared(graph.positions) for graph in graphs]).mean().sqrt()
            self.charge_factor.copy_(self.factor[0] * BOHR / distance.clamp(min=BOHR))

    def pool(self, outputs: Tensor, graph: Graph) -> Tensor:
        """The dipole of charges and vectors on the atoms.

        :param outputs: (atoms, 4), irreps 1x0e+1x1o.
        :param graph: of the same atoms.
        :returns: (structures, 3), e·bohr.
        """
        return dipole(outputs[:, :1] * self.charge_factor, outputs[:, 1:] * self.factor, graph)


def _squared(vectors: Tensor) -> Tensor:
    """Squared lengths of vectors (vectors, 3), float64. Column by column, which is faster than a sum along rows."""
    x, y, z = (column.double().square() for column in vectors.unbind(dim=1))
    return x.add_(y).add_(z)


def _relative(order: int | None, error: Tensor, spread: Tensor) -> list[Value]:
    if not spread > 0:
        return []
    return [Value("relative_error", order, 100 * float(error / spread) ** 0.5)]
