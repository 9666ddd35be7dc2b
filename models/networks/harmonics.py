"""Spherical harmonics by recursion over l, in few operations: forces take two further derivatives of each."""

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

LMAX = 10
"""Largest l."""


def spherical_harmonics(vectors: Tensor, lmax: int) -> Tensor:
    """Real spherical harmonics of the directions of vectors, l = 0..lmax, twice differentiable.

    They are those of `e3nn.o3.spherical_harmonics` with normalize=True and normalization='component' (Σ_m Y_lm² =
    2l+1), in the x, y, z axes of the vectors: Y_l is Y_{l−1} ⊗ Y_1 contracted with the coefficients of Clebsch and
    Gordan. e3nn computes the same polynomials monomial by monomial. The contractions are matrix products, in the
    precision that torch is told to take for them.

    :param vectors: (edges, 3); of one of length 0 all harmonics but the first are 0.
    :param lmax: largest l, at most `LMAX`.
    :returns: (edges, (lmax+1)²).
    """
    directions = normalize(vectors, dim=-1)
    harmonics = [torch.ones_like(directions[:, :1])]
    for step in _STEPS[:lmax]:
        products = (harmonics[-1][:, :, None] * directions[:, None, :]).flatten(1)
        harmonics.append(products @ torch.as_tensor(step, dtype=products.dtype, device=products.device))
    return torch.cat(harmonics, dim=1)


def _step(order: int) -> NDArray[np.float64]:
    """What makes Y_l of Y_{l−1} ⊗ directions, ((2l−1) · 3, 2l+1)."""
    coupling = o3.wigner_3j(order - 1, 1, order, dtype=torch.float64).flatten(0, 1)
    # Along one axis, of which e3nn's harmonics decide factor and sign.
    axis = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    before, after = (
        o3.spherical_harmonics(each, axis, normalize=True, normalization="component") for each in (order - 1, order)
    )
    made = (before[:, None] * axis).flatten() @ coupling
    step: NDArray[np.float64] = (coupling * (after @ made / (made @ made))).numpy()
    return step


# Numbers, made when the module is imported: tensors that are made while torch traces or infers are not for others.
_STEPS = tuple(_step(order) for order in range(1, LMAX + 1))
