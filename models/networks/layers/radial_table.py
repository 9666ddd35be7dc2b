"""A table of a function of distance: values at knots, and cubic splines between them.

With the spacing h of the knots r_j and B the cubic B-spline, which has two continuous derivatives,

    w(r) = Σ_j c_j B(r/h − j),    c_j = (w_{j−2} − 10 w_{j−1} + 54 w_j − 10 w_{j+1} + w_{j+2}) / 36,

with w_j = w(r_j), reproduces cubic polynomials, so its error is of the order h⁴ (de Boor, A Practical Guide to Splines,
XII). The c_j are those of the interpolating spline up to the sixth order. Each r takes the eight knots about it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.networks.graph import radial_functions
from tesseral.study import configuration

BEFORE, AFTER = 3, 4
"""Knots that a place between two of them takes before and after the first of the two: 8 in all."""
OUTSIDE = BEFORE + AFTER
"""Knots before r = 0 and behind the cutoff, both."""
FILTER = [[0.0] * n + [1 / 36, -10 / 36, 54 / 36, -10 / 36, 1 / 36] + [0.0] * (3 - n) for n in range(4)]
"""(4, 8): from the splines at a place to what the knots about it are multiplied by."""


class Places(NamedTuple):
    """Where distances stand in a table."""

    first: Tensor
    """(edges,) int64, the first of the eight knots."""
    weights: Tensor
    """(edges, 8), what each is multiplied by."""


def knots(settings: configuration.Network) -> Tensor | None:
    """φ_k at the knots, (knots, radial functions); None where the radial network is not tabulated.

    The first three knots lie before r = 0, and the last three behind the cutoff.

    :param settings: the `network` section.
    """
    number, cutoff = settings.radial_knots, settings.radial_cutoff
    if number is None:
        return None
    distances = (torch.arange(number, dtype=torch.get_default_dtype()) - BEFORE) * (cutoff / (number - OUTSIDE))
    if settings.radial_basis == "bessel":
        distances[BEFORE] = 1e-6 * cutoff  # they divide by it, and are flat there
    return radial_functions(distances, cutoff, settings.radial_functions, settings.radial_basis)


def places(distances: Tensor, cutoff: float, number: int) -> Places:
    """Where distances stand; twice differentiable.

    :param distances: (edges,), Å, from 0 to the cutoff.
    :param cutoff: Å.
    :param number: of knots.
    """
    along = distances * ((number - OUTSIDE) / cutoff)
    first = along.detach().floor().clamp(0, number - OUTSIDE - 1)
    t = along - first
    u = 1 - t
    splines = u**3 / 6, (3 * t - 6) * t * t / 6 + 2 / 3, (3 * u - 6) * u * u / 6 + 2 / 3, t**3 / 6
    return Places(first.long(), torch.stack(splines, dim=1) @ along.new_tensor(FILTER))


def interpolated(values: Tensor, at: Places) -> Tensor:
    """Values between the knots.

    :param values: (knots, columns).
    :param at: of each edge.
    :returns: (edges, columns).
    """
    columns = at.first[:, None] + torch.arange(BEFORE + 1 + AFTER, device=values.device)
    matrix = at.weights.new_zeros(at.first.shape[0], values.shape[0]).scatter(1, columns, at.weights)
    return matrix @ values
