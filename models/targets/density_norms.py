"""Norms of densities from their coefficients: quadratic forms with the overlap or the Coulomb matrix of a batch."""

import torch
from torch import Tensor

from tesseral.models.data.data_set import Batch


def squared_norms(coefficients: Tensor, batch: Batch, matrix: Tensor | None = None) -> Tensor:
    """cᵀ M c of each structure, (structures,), from (atoms, columns).

    :param matrix: M, such as `batch.coulomb`; if none is given `batch.overlap`, with which it is ∫ρ².
    """
    vectors = coefficients.reshape(-1)[batch.filled]
    matrix = batch.overlap if matrix is None else matrix
    return (vectors * torch.bmm(matrix, vectors[..., None])[..., 0]).sum(dim=1)


def squared_norms_by_order(coefficients: Tensor, batch: Batch, order: Tensor) -> Tensor:
    """∫ρ_l² of the part of each order l of each structure, (structures, orders).

    :param order: (columns,), l of each column.
    """
    vectors = coefficients.reshape(-1)[batch.filled]
    member = torch.nn.functional.one_hot(order)[batch.filled % len(order)]
    parts = vectors[..., None] * member
    return (parts * torch.bmm(batch.overlap, parts)).sum(dim=1)
