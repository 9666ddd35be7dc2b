"""Quadratic forms cᵀ M c of several structures, each with a symmetric matrix of its own size.

One product of matrix and vector a structure reads each matrix once and copies none. Matrices padded to one size and
joined would be copied for every batch, and read again in the backward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def quadratic_forms(vectors: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """cᵀ M c of each structure, (structures,); differentiable once by the vectors.

    :param vectors: c of all structures, one after another, (functions,).
    :param matrices: M of each structure, symmetric, (its functions, its functions).
    """
    result: Tensor = _QuadraticForms.apply(vectors, *matrices)
    return result


class _QuadraticForms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, *matrices: Tensor) -> Tensor:
        products = torch.empty_like(vectors)
        sizes = [matrix.shape[0] for matrix in matrices]
        forms = []
        for vector, matrix, product in zip(vectors.split(sizes), matrices, products.split(sizes), strict=True):
            torch.mv(matrix, vector, out=product)
            forms.append(vector.dot(product))
        ctx.sizes = sizes
        ctx.save_for_backward(products)
        return torch.stack(forms)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (products,) = ctx.saved_tensors
        parts = zip(products.split(ctx.sizes), (2 * gradient).unbind(), strict=True)
        return torch.cat([product * scale for product, scale in parts]), *[None] * len(ctx.sizes)
