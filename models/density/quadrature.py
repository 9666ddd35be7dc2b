"""Integrals over the space about a molecule: a quadrature about each atom, which resolves the cores."""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy.integrate import lebedev_rule
from torch import Tensor

from tesseral.study.constants import BOHR

RADII = 40
"""Radii about each atom."""
PRECISION = 29
"""Degree of the polynomials on a sphere that the Lebedev rule integrates exactly: 302 directions."""


class Grid(NamedTuple):
    """∫f(r) d³r ≈ Σ_g weights_g f(points_g)."""

    points: Tensor
    """Å, shape (points, 3)."""
    weights: Tensor
    """bohr³, shape (points,)."""

    def chunks(self, size: int) -> Iterator["Grid"]:
        """All points in parts of at most `size` that lie near each other."""
        for part in along_curve(self.points).split(size):
            yield Grid(self.points[part], self.weights[part])


class Quadrature(Protocol):
    """Points and weights, whole or made as they are asked for."""

    def chunks(self, size: int) -> Iterator[Grid]:
        """All points in parts of at most `size` that lie near each other."""


def along_curve(points: Tensor, cell: float = 0.25) -> Tensor:
    """The order of points along a curve that fills space (Morton's), so that a run of them is compact, (points,).

    :param cell: side of the cubes that are told apart, Å.
    """
    place = ((points.detach() - points.detach().amin(dim=0)) / cell).long()
    code = torch.zeros_like(place[:, 0])
    for bit in range(int(place.max()).bit_length()):
        for axis in range(3):
            code |= ((place[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code.argsort()


def atom_grid(positions: Tensor, radii: int = RADII, precision: int = PRECISION) -> Grid:
    r"""A quadrature of functions that vary fast near atoms alone; needs no knowledge of the elements.

    Becke (J. Chem. Phys. 88, 2547, 1988) shares space out smoothly among the atoms, ∫f = Σ_A ∫ p_A f, without
    adjustment to their sizes:

        p_A = P_A / Σ_B P_B,             P_A = Π_{B≠A} ½ (1 − h(h(h(μ_AB)))),
        μ_AB = (r_A − r_B) / R_AB,       h(μ) = (3μ − μ³) / 2.

    Each part is a Lebedev rule over directions times, over radii, the Gauss-Chebyshev rule of the second kind at
    x_i = cos(iπ/(n+1)), with Treutler and Ahlrichs' map M4 (J. Chem. Phys. 102, 346, 1995) for ξ = 1 bohr, α = 0.6:

        r = ξ/ln 2 · (1 + x)^α · ln(2/(1 − x)).

    With the default size a fitted density of water (def2-universal-jfit, exponents to 2877 bohr⁻²) has its electrons
    to a relative 1e-6; the integral of a Gaussian exp(−3000 d²) on an atom, d in bohr, is right to 1e-4.

    :param positions: of the atoms, no two at one place, Å, shape (atoms, 3).
    :param radii: n.
    :param precision: degree of the Lebedev rule, one of those of `scipy.integrate.lebedev_rule`.
    :return: in double precision, on the device of positions, points grouped by atom; without a gradient.
    """
    displacements, volumes = (part.to(positions.device) for part in _ball(radii, precision))
    centres = positions.detach().double() / BOHR
    points = [centre + displacements for centre in centres]
    weights = [volumes * _shares(centres, near)[atom] for atom, near in enumerate(points)]
    return Grid(torch.cat(points) * BOHR, torch.cat(weights))


@cache
def _ball(radii: int, precision: int) -> tuple[Tensor, Tensor]:
    """Points about the origin, bohr, (points, 3), and weights, bohr³."""
    angle = np.arange(1, radii + 1) * np.pi / (radii + 1)
    x = np.cos(angle)
    logarithm = np.log(2 / (1 - x))
    r = (1 + x) ** 0.6 * logarithm / np.log(2)
    slope = (0.6 * (1 + x) ** -0.4 * logarithm + (1 + x) ** 0.6 / (1 - x)) / np.log(2)  # dr/dx
    thickness = np.pi / (radii + 1) * np.sin(angle) * slope
    directions, solid_angles = lebedev_rule(precision)
    points = r[:, None, None] * directions.T
    return torch.tensor(points).flatten(0, 1), torch.tensor(np.outer(thickness * r**2, solid_angles)).flatten()


def _shares(centres: Tensor, points: Tensor) -> Tensor:
    """p_A at points, shape (atoms, points)."""
    distances = torch.stack([(points - centre).norm(dim=1) for centre in centres])
    products = torch.ones_like(distances)
    for a in range(len(centres)):
        for b in range(a):
            step = (distances[a] - distances[b]) / (centres[a] - centres[b]).norm()
            for _ in range(3):
                step = step * (1.5 - 0.5 * step.square())
            products[a] *= 0.5 - 0.5 * step
            products[b] *= 0.5 + 0.5 * step
    return products / products.sum(dim=0)
