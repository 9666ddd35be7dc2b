"""Metrics of a model on a split. `tesseral.study.configuration.metrics` declares their names, units and meaning."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tesseral.models.data.batch import Batch
from tesseral.models.data.data_set import DataSet
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.density import epsilon_by_order
from tesseral.models.density.errors import density_errors
from tesseral.models.targets.model import Model
from tesseral.models.targets.target import Value

BATCH_SIZE = 8
"""Structures evaluated at a time; changes metrics by rounding alone."""


def evaluation_batches(data: DataSet, indices: Sequence[int], size: int = BATCH_SIZE) -> list[Batch]:
    """The batches of some structures, made once and used for every measurement.

    :param data: graphs and values.
    :param indices: structures of the data set.
    :param size: structures of a batch; the last one takes what is left.
    """
    return list(SplitBatches(data, indices, size))


@dataclass(frozen=True)
class SplitBatches:
    """The batches of a split that is too large to be held: joined whenever they are wanted.

    :param data: graphs and values.
    :param indices: structures of the data set.
    :param size: structures of a batch; the last one takes what is left.
    """

    data: DataSet
    indices: Sequence[int]
    size: int = BATCH_SIZE

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self.indices), self.size)
        return self.data.batches(self.indices[start : start + self.size] for start in starts)


@torch.no_grad()
def measure(model: Model, batches: Iterable[Batch]) -> list[Value]:
    """Measure every metric of the model's target but those of `measure_densities`; none without batches.

    :param model: in evaluation mode.
    :param batches: of one split.
    """
    total: dict[str, Tensor] = {}
    for batch in batches:
        error = model.target.error(model(batch.graph), batch)
        for name, value in model.target.sums(error, batch).items():
            total[name] = total[name] + value if name in total else value
    return model.target.values(total) if total else []


@torch.no_grad()
def measure_densities(model: Model, data: DataSet, indices: Iterable[int]) -> list[Value]:
    """Measure what takes a grid or points in space: ε, ε_l, and the errors of dipole, quadrupole and potential.

    Only densities have these metrics. One structure is measured after another, and values are means over structures. ε
    and ε_l are those of `tesseral.models.density.density.epsilon_by_order` on its default grid, the other errors those
    of `tesseral.models.density.errors`. Where orders are chosen, both densities get the reference's coefficients of all
    other orders: ε is then the error of the chosen orders over the whole charge.

    :param model: in evaluation mode.
    :param data: what the model predicts, with all orders of the reference density.
    :param indices: positions of structures in the data set.
    :returns: `epsilon` and `block_epsilon`, %; `dipole_error`, e bohr; `quadrupole_error`, e bohr²; `potential_error`,
        millihartree/e. Empty for any other target, and without structures.
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
    """Coefficients of each atom in the whole basis: `values` for the chosen shells, the reference's for the others."""
    orders = {term.l for term in chosen.layout}
    completed = []
    for number, own, fitted in zip(atomic_numbers, values, coefficients, strict=True):
        part = own.new_tensor(fitted)
        places = [shell.l in orders for shell in whole.shells[number] for _ in range(2 * shell.l + 1)]
        part[torch.tensor(places, device=own.device)] = own[chosen.columns(number)]
        completed.append(part)
    return completed
