"""How far a model's densities are from the reference, on a split. `tesseral.study.metrics` names what is measured."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.data_set import Batch, DataSet, collate
from tesseral.models.density import epsilon_by_order
from tesseral.models.loss import squared_norms
from tesseral.models.model import Model

BATCH_SIZE = 16
"""Structures that are evaluated at a time; changes a metric by rounding alone."""


class Value(NamedTuple):
    """A metric's value; `l` is None where the metric has none."""

    metric: str
    l: int | None  # noqa: E741 - the column's name
    value: float

    @property
    def key(self) -> str:
        """Such as `l2_error` or `block_error.l2`."""
        return self.metric if self.l is None else f"{self.metric}.l{self.l}"


def evaluation_batches(data: DataSet, indices: Sequence[int], size: int = BATCH_SIZE) -> list[Batch]:
    """A split in batches of `size` that need no gradients, made once and used for every measurement."""
    return [data.batch(indices[start : start + size]) for start in range(0, len(indices), size)]


@torch.no_grad()
def measure(model: Model, batches: Iterable[Batch]) -> list[Value]:
    """Every metric but ε: l2_error, block_error by l, mse, electrons. No values for no batches.

    A block_error whose Σy² is zero is left out: nothing of that order is there to be predicted.
    """
    target = model.target
    orders = int(target.order.max()) + 1
    error_norm = norm = electrons = 0.0
    squares = torch.zeros(2, orders, dtype=torch.float64, device=target.order.device)  # Σerr², Σy² by l
    structures = elements = 0
    for batch in batches:
        species = batch.graph.species
        error = model(batch.graph) - batch.coefficients
        error_norm += float(squared_norms(error, batch).double().sum())
        norm += float(squared_norms(batch.coefficients, batch).double().sum())
        for row, y in enumerate((error * target.to_y[species], target.y(batch.coefficients, species))):
            squares[row].index_add_(0, target.order, y.double().square().sum(dim=0))
        charges = (error * target.charge[species]).double().sum(dim=1)
        electrons += float(charges.new_zeros(batch.size).index_add(0, batch.structure, charges).abs().sum())
        structures += batch.size
        elements += error.numel()
    if not structures:
        return []
    # Rounding can leave a vanishing ∫Δρ² just below zero.
    values = [Value("l2_error", None, 100 * (max(error_norm, 0.0) / norm) ** 0.5)]
    values += [
        Value("block_error", order, 100 * (wrong / total) ** 0.5)
        for order, (wrong, total) in enumerate(squares.T.tolist())
        if total
    ]
    values.append(Value("mse", None, float(squares[0].sum()) / elements))
    values.append(Value("electrons", None, electrons / structures))
    return values


@torch.no_grad()
def measure_epsilon(model: Model, data: DataSet, indices: Iterable[int]) -> list[Value]:
    """Mean over structures of ε, and of each ε_l, on the default grid of `tesseral.models.density.epsilon_by_order`."""
    basis = data.basis
    sums: dict[int | None, float] = {}
    structures = list(indices)
    for index in structures:
        row = data.reference.table.slice(index, 1).select(["atomic_numbers", "positions"]).to_pylist()[0]
        batch, numbers = collate([data.structures[index]]), row["atomic_numbers"]
        device = batch.coefficients.device
        found = epsilon_by_order(
            basis,
            numbers,
            torch.tensor(row["positions"], dtype=torch.float64, device=device),
            _by_atom(model(batch.graph), numbers, data),
            _by_atom(batch.coefficients, numbers, data),
        )
        for order, value in found.items():
            sums[order] = sums.get(order, 0.0) + value
    return [
        Value("epsilon" if order is None else "block_epsilon", order, value / len(structures))
        for order, value in sums.items()
    ]


def _by_atom(coefficients: Tensor, numbers: Sequence[int], data: DataSet) -> list[Tensor]:
    return [row[data.basis.columns(number)] for row, number in zip(coefficients, numbers, strict=True)]
