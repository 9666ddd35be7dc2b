"""What one row of reference data holds of a target, as tensors."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.data.target_columns import absent
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.coulomb import coulomb_matrix
from tesseral.study.configuration.quantities import Quantity
from tesseral.study.errors import DataError


class DensityLabels(NamedTuple):
    """Of one structure; the fields of `tesseral.models.data.data_set.Batch`."""

    coefficients: Tensor
    filled: Tensor
    overlap: Tensor
    coulomb: Tensor


def density_labels(
    row: dict[str, Any], basis: AuxiliaryBasis, whole: AuxiliaryBasis, *, coulomb: bool
) -> DensityLabels:
    """Coefficients, where they stand, and the matrices of the functions that are predicted.

    :param basis: their shells, some of those of `whole`.
    :raises DataError: if the row lacks coefficients or overlap matrix.
    """
    for column in ("coefficients", "overlap"):
        if row[column] is None:
            raise absent("density", column, row["id"])
    width = sum(mul * (2 * order + 1) for mul, order, _ in basis.layout)
    numbers = row["atomic_numbers"]
    orders = {term.l for term in basis.layout}
    chosen = np.array([s.l in orders for number in numbers for s in whole.shells[number] for _ in range(2 * s.l + 1)])
    filled = np.concatenate([np.array(basis.columns(n), dtype=int) + i * width for i, n in enumerate(numbers)])
    coefficients = np.zeros(len(numbers) * width)
    coefficients[filled] = np.concatenate(row["coefficients"])[chosen]
    overlap = np.zeros((len(chosen), len(chosen)))
    overlap[np.tril_indices(len(chosen))] = row["overlap"]
    overlap += np.tril(overlap, -1).T
    matrix = np.zeros((0, 0))
    if coulomb:
        matrix = coulomb_matrix(basis, numbers, np.array(row["positions"], dtype=float))
    return DensityLabels(
        coefficients=torch.from_numpy(coefficients.reshape(-1, width)),
        filled=torch.from_numpy(filled)[None],
        overlap=torch.from_numpy(overlap[np.ix_(chosen, chosen)])[None],
        coulomb=torch.from_numpy(matrix)[None],
    )


def property_values(row: dict[str, Any], quantity: Quantity) -> Tensor:
    """(1 or atoms, dimension) float64, in the quantity's unit.

    :raises DataError: if the row lacks them, or has another number of them.
    """
    if row[quantity.column] is None:
        raise absent(quantity.name, quantity.column, row["id"])
    rows = len(row["atomic_numbers"]) if quantity.per == "atom" else 1
    values: NDArray[np.float64] = np.array(row[quantity.column], dtype=float)
    if quantity.magnitude:
        values = np.sqrt(np.square(values).sum(keepdims=True))
    width = sum(mul * (2 * order + 1) for mul, order, _ in quantity.irreps or ())
    if values.size != rows * width or not np.isfinite(values).all():
        raise DataError(
            f"expected {rows} × {width} finite numbers of {quantity.column}, structure {row['id']!r} has "
            f"{values.size}{'' if np.isfinite(values).all() else ', not all of them finite'}"
        )
    return torch.from_numpy(values.reshape(rows, width))


def energy_of(row: dict[str, Any]) -> Tensor:
    """(1, 1) float64, hartree; (1, 0) if the row has none."""
    return torch.tensor([[] if row["energy"] is None else [row["energy"]]], dtype=torch.float64)
