"""Spherical harmonics by recursion over l, in few operations: forces take two further derivatives of each."""

from functools import lru_cache

import torch
from e3nn import o3
from torch import Tensor


def spherical_harmonics(vectors: Tensor, lmax: int) -> Tensor:
    """Real spherical harmonics of the directions of vectors, l = 0..lmax, twice differentiable.

    They are those of `e3nn.o3.spherical_harmonics` with normalize=True and normalization='component' (Σ_m Y_lm² =
    2l+1), in the x, y, z axes of the vectors: Y_l is Y_{l−1} ⊗ Y_1 contracted with the coefficients of Clebsch and
    Gordan. e3nn computes the same polynomials monomial by monomial, up to l = 11.

    :param vectors: (edges, 3), none of length 0.
    :param lmax: largest l.
    :returns: (edges, (lmax+1)²).
    """
    directions = vectors / vectors.norm(dim=-1, keepdim=True)
    harmonics = [torch.ones_like(directions[:, :1])]
    for order in range(1, lmax + 1):
        products = (harmonics[-1][:, :, None] * directions[:, None, :]).flatten(1)
        harmonics.append(products @ _step(order, products.dtype, products.device))
    return torch.cat(harmonics, dim=1)


@lru_cache(maxsize=64)
def _step(order: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What makes Y_l of Y_{l−1} ⊗ directions, ((2l−1) · 3, 2l+1)."""
    coupling = o3.wigner_3j(order - 1, 1, order, dtype=torch.float64).flatten(0, 1)
    # Along one axis, of which e3nn's harmonics decide factor and sign.
    axis = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    before, after = (
        o3.spherical_harmonics(each, axis, normalize=True, normalization="component") for each in (order - 1, order)
    )
    made = (before[:, None] * axis).flatten() @ coupling
    return (coupling * (after @ made / (made @ made))).to(device, dtype)
