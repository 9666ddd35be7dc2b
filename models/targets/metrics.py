"""How far a model's predictions are from the reference, on a split. `tesseral.study.configuration.metrics` names what
is measured."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tesseral.models.data.batch import Batch
from tesseral.models.data.data_set import DataSet
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.density import epsilon_by_order
from tesseral.models.density.errors import density_errors
from tesseral.models.targets.model import Model
from tesseral.models.targets.target import Value as Value

BATCH_SIZE = 16
"""Structures that are evaluated at a time; changes a metric by rounding alone."""


def evaluation_batches(data: DataSet, indices: Sequence[int], size: int = BATCH_SIZE) -> list[Batch]:
    """A split in batches of `size` that need no gradients, made once and used for every measurement."""
    return [data.batch(indices[start : start + size]) for start in range(0, len(indices), size)]


@torch.no_grad()
def measure(model: Model, batches: Iterable[Batch]) -> list[Value]:
    """Every metric of the model's target but those of `measure_densities`. No values for no batches."""
    total: dict[str, Tensor] = {}
    for batch in batches:
        error = model.target.error(model(batch.graph), batch)
        for name, value in model.target.sums(error, batch).items():
            total[name] = total[name] + value if name in total else value
    return model.target.values(total) if total else []


@torch.no_grad()
def measure_densities(model: Model, data: DataSet, indices: Iterable[int]) -> list[Value]:
    """Means over structures of what takes a grid, one structure after another; nothing for another target.

    ε and each ε_l on the default grid of `tesseral.models.density.density.epsilon_by_order`; the errors of dipole,
    quadrupole and potential of `tesseral.models.density.errors`. Where orders are chosen, both densities have
    the reference's parts of the other ones: so ε counts the error of those chosen, over the charge of the whole.
    """
    whole, chosen = data.reference.basis, data.basis
    if whole is None or chosen is None:
        return []
    sums: dict[tuple[str, int | None], float] = {}
    structures = list(indices)
    orders = {term.l for term in chosen.layout}
    for index in structures:
        columns = ["atomic_numbers", "positions", "coefficients"]
        row = data.reference.table.slice(index, 1).select(columns).to_pylist()[0]
        batch, numbers = data.structures[index], row["atomic_numbers"]
        device = batch.values.device
        predicted, fitted = (
            _completed(values, row["coefficients"], numbers, whole, chosen)
            for values in (model(batch.graph), batch.values)
        )
        positions = torch.tensor(row["positions"], dtype=torch.float64, device=device)
        measured: dict[tuple[str, int | None], float] = {
            ("epsilon" if order is None else "block_epsilon", order): value
            for order, value in epsilon_by_order(whole, numbers, positions, predicted, fitted).items()
            if order is None or order in orders
        }
        errors = density_errors(whole, numbers, positions, predicted, fitted)
        measured |= {(f"{name}_error", None): getattr(errors, name) for name in ("dipole", "quadrupole", "potential")}
        for key, value in measured.items():
            sums[key] = sums.get(key, 0.0) + value
    return [Value(metric, order, value / len(structures)) for (metric, order), value in sums.items()]


def _completed(
    values: Tensor,
    coefficients: Sequence[Sequence[float]],
    atomic_numbers: Sequence[int],
    whole: AuxiliaryBasis,
    chosen: AuxiliaryBasis,
) -> list[Tensor]:
    """Coefficients in the whole basis for each atom: of the chosen shells `values`, of the others the reference's."""
    orders = {term.l for term in chosen.layout}
    completed = []
    for number, own, fitted in zip(atomic_numbers, values, coefficients, strict=True):
        part = own.new_tensor(fitted)
        places = [shell.l in orders for shell in whole.shells[number] for _ in range(2 * shell.l + 1)]
        part[torch.tensor(places, device=own.device)] = own[chosen.columns(number)]
        completed.append(part)
    return completed
