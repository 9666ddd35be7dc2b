"""The Boys function, from which every Coulomb integral of Gaussians is made:

    F_n(x) = ∫₀¹ t²ⁿ exp(−x t²) dt = Γ(n+½) P(n+½, x) / (2 x^(n+½)),    F_{n−1}(x) = (2x F_n(x) + e^(−x)) / (2n − 1),

P the regularised lower incomplete gamma function (S. F. Boys, Proc. R. Soc. Lond. A 200, 542, 1950). `boys` is one
order as a differentiable tensor, for potentials; `boys_orders` is all orders at once by the recurrence, for the Coulomb
matrix. They agree to rounding, and are kept apart so that neither changes a stored number.
"""

from math import gamma

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammainc
from torch import Tensor

Array = NDArray[np.float64]

_SMALLEST = 1e-12  # below this x, F_n is its value at 0 to double precision, where x^(−n−½) would overflow
_SERIES = 1e-7  # below this x, two terms of the series are exact: their error is x²/(2(2n+5))
_FAR = 64.0  # above this x and 4 more for each order above 8, P(n+½, x) is 1 to double precision


def boys(order: int, x: Tensor) -> Tensor:
    """F_n(x) of one order n, in the precision of x; a gradient passes to x.

    :param order: n.
    :param x: 0 or more, of any shape.
    """
    half = order + 0.5
    x = x.clamp(min=_SMALLEST)
    within = x < _FAR + 4 * max(order - 8, 0)
    near = x[within]
    part = torch.ones_like(x).masked_scatter(within, torch.special.gammainc(torch.full_like(near, half), near))
    return 0.5 * gamma(half) * part * x ** (-half)


def boys_orders(most: int, x: Array) -> Array:
    """F_n(x) for n = 0, …, most; shape (most + 1, *x.shape).

    The highest order comes from the incomplete gamma function. The recurrence then goes downwards, where it is stable;
    upwards it loses digits at small x.

    :param x: 0 or more, of any shape.
    """
    half = most + 0.5
    safe = np.maximum(x, 1e-8)  # the other branch is taken there; this one must not divide by 0
    series = 1 / (2 * most + 1) - x / (2 * most + 3)
    values = [np.where(x < _SERIES, series, gamma(half) * gammainc(half, safe) / (2 * safe**half))]
    for n in range(most, 0, -1):
        values.append((2 * x * values[-1] + np.exp(-x)) / (2 * n - 1))
    return np.stack(values[::-1])
