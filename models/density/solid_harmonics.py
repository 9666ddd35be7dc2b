"""Real solid harmonics in e3nn's order and axes, for many displacements at once."""

from functools import cache
from math import factorial, pi, sqrt

import torch
from torch import Tensor


def solid_harmonics(lmax: int, x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    r"""T_lm(d) for l = 0, …, lmax: homogeneous polynomials of degree l with r^l Y_lm = n_lm T_lm, n of
    `harmonic_norms`.

    n_lm T_lm is `e3nn.o3.spherical_harmonics` with normalize=False and normalization="integral". Leaving out n keeps
    the recurrence free of factors in its first term, so that whole rows of m are computed at once: several times as
    fast as e3nn on many points. About the polar axis c, with (a, b, c) = (z, x, y) for e3nn's axes (see
    `tesseral.models.reference.conventions`),

        T_{l+1,m}      = c T_lm − (l² − m²) / (4l² − 1) · d² T_{l−1,m},      |m| ≤ l,
        T_{l+1,±(l+1)} = a T_{l,±l} ∓ b T_{l,∓l},    with T_00 = 1.

    :param x, y, z: components of the displacements, of one shape (…, points).
    :returns: for each l, shape (…, 2l+1, points), m = −l, …, l.
    """
    a, b, c = z[..., None, :], x[..., None, :], y[..., None, :]
    rows = [torch.ones_like(a)]
    if lmax == 0:
        return rows
    squared = a * a + b * b + c * c
    rows.append(torch.cat([b, c, a], dim=-2))
    for order in range(1, lmax):
        last, before = rows[-1], rows[-2]
        inner = last * c
        inner[..., 1:-1, :] -= before * squared * _factors(order, x.dtype, x.device)
        sine, cosine = last[..., :1, :], last[..., -1:, :]
        rows.append(torch.cat([a * sine + b * cosine, inner, a * cosine - b * sine], dim=-2))
    return rows


def harmonic_norms(order: int) -> list[float]:
    """n_lm for m = −l, …, l, with which ∫|n_lm T_lm|² over the unit sphere is 1.

    :param order: l.
    :returns: 2l+1 numbers.
    """
    # T_lm is Π_lm cos mφ, and the leading coefficient of the associated Legendre polynomial is (2l−1)!!/(l−m)!.
    leading = factorial(2 * order) / (2**order * factorial(order))
    return [
        sqrt((1 if m == 0 else 2) * (2 * order + 1) / (4 * pi) / (factorial(order - m) * factorial(order + m)))
        * leading
        for m in map(abs, range(-order, order + 1))
    ]


@cache
def _factors(order: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(l² − m²) / (4l² − 1) for |m| < l, shape (2l−1, 1)."""
    values = [(order**2 - m**2) / (4 * order**2 - 1) for m in range(1 - order, order)]
    return torch.tensor(values, dtype=dtype, device=device)[:, None]
