"""A quadrature of integrals over the space around a molecule: one grid about each atom, which resolves the cores."""

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy.integrate import lebedev_rule
from torch import Tensor

from tesseral.models.compiled.library import NoLibraryError, open_library
from tesseral.study.constants import BOHR

RADII = 40
"""Radial points about each atom."""
PRECISION = 29
"""Highest degree that the Lebedev rule integrates exactly on a sphere: 302 directions."""

_MOST_CELLS = 2**20
"""Of the curve along each axis, so that the bits of three cell numbers interleave into 60."""


class Grid(NamedTuple):
    """∫f(r) d³r ≈ Σ_g weights_g f(points_g)."""

    points: Tensor
    """Å, shape (points, 3)."""
    weights: Tensor
    """bohr³, shape (points,)."""

    def chunks(self, size: int) -> Iterator["Grid"]:
        """All points in chunks of at most `size` points that lie near one another.

        :param size: most points of a chunk.
        """
        for part in along_curve(self.points).split(size):
            yield Grid(self.points[part], self.weights[part])


class Quadrature(Protocol):
    """A source of points and weights: a `Grid` in memory, or a `CubeGrid` that generates them."""

    def chunks(self, size: int) -> Iterator[Grid]:
        """All points in chunks of at most `size` points that lie near one another.

        :param size: most points of a chunk.
        """


def along_curve(points: Tensor, cell: float = 0.25) -> Tensor:
    """Order of points along a space-filling curve (Morton's), in which consecutive points are near one another.

    Along each axis there are at most 2²⁰ cells: points farther out are all in the last one. Those that are not finite
    are anywhere.

    :param points: Å, shape (points, 3).
    :param cell: side of the cubes that the curve visits, Å.
    :returns: indices into `points`, shape (points,).
    """
    place = ((points.detach() - points.detach().amin(dim=0)) / cell).long().clamp(0, _MOST_CELLS - 1)
    cells = torch.arange(int(place.max()) + 1, device=points.device)
    bits = int(cells[-1]).bit_length()
    # The interleaved bits of the three cell numbers are the place along the curve; short numbers are sorted faster.
    spread = sum((((cells >> bit) & 1) << (3 * bit) for bit in range(bits)), start=torch.zeros_like(cells))
    spread = spread.to(torch.int32 if 3 * bits < 32 else torch.int64)
    x, y, z = (spread.index_select(0, numbers) for numbers in place.unbind(dim=1))
    return (x | y << 1 | z << 2).argsort()


def atom_grid(positions: Tensor, radii: int = RADII, precision: int = PRECISION) -> Grid:
    r"""A quadrature for functions that vary fast only near atoms; it does not depend on the elements.

    Space is partitioned smoothly among the atoms after Becke (J. Chem. Phys. 88, 2547, 1988), ∫f = Σ_A ∫ p_A f, without
    his adjustment to atomic sizes:

        p_A = P_A / Σ_B P_B,             P_A = Π_{B≠A} ½ (1 − h(h(h(μ_AB)))),
        μ_AB = (r_A − r_B) / R_AB,       h(μ) = (3μ − μ³) / 2.

    Each part is integrated by a Lebedev rule over directions times the Gauss-Chebyshev rule of the second kind at
    x_i = cos(iπ/(n+1)) over radii, mapped by M4 of Treutler & Ahlrichs (J. Chem. Phys. 102, 346, 1995) with ξ = 1 bohr
    and α = 0.6:

        r = ξ/ln 2 · (1 + x)^α · ln(2/(1 − x)).

    With the default size, the electrons of a fitted density of water (def2-universal-jfit, exponents up to 2877 bohr⁻²)
    are right to a relative 1e-6, and the integral of exp(−3000 d²) on an atom, d in bohr, to 1e-4.

    :param positions: positions of the atoms, all different, Å, shape (atoms, 3).
    :param radii: n, radial points about each atom.
    :param precision: degree of the Lebedev rule, one that `scipy.integrate.lebedev_rule` has.
    :returns: the grid in double precision, on the device of positions, grouped by atom; without a gradient.
    """
    displacements, volumes = (part.to(positions.device) for part in _ball(radii, precision))
    centres = positions.detach().double() / BOHR
    points = [centre + displacements for centre in centres]
    weights = [volumes * _share(centres, near, atom) for atom, near in enumerate(points)]
    return Grid(torch.cat(points) * BOHR, torch.cat(weights))


@cache
def _ball(radii: int, precision: int) -> tuple[Tensor, Tensor]:
    """The rule about one atom at the origin: points, bohr, shape (points, 3), and weights, bohr³."""
    angle = np.arange(1, radii + 1) * np.pi / (radii + 1)
    x = np.cos(angle)
    logarithm = np.log(2 / (1 - x))
    r = (1 + x) ** 0.6 * logarithm / np.log(2)
    slope = (0.6 * (1 + x) ** -0.4 * logarithm + (1 + x) ** 0.6 / (1 - x)) / np.log(2)  # dr/dx
    thickness = np.pi / (radii + 1) * np.sin(angle) * slope
    directions, solid_angles = lebedev_rule(precision)
    points = r[:, None, None] * directions.T
    return torch.tensor(points).flatten(0, 1), torch.tensor(np.outer(thickness * r**2, solid_angles)).flatten()


def _share(centres: Tensor, points: Tensor, atom: int) -> Tensor:
    """Becke's weight p_A of an atom at points, shape (points,)."""
    if points.device.type == "cpu":
        with suppress(NoLibraryError):
            return _compiled_share(centres, points, atom)
    distances = torch.stack([(points - centre).norm(dim=1) for centre in centres])
    products = torch.ones_like(distances)
    for a in range(len(centres)):
        for b in range(a):
            step = (distances[a] - distances[b]) / (centres[a] - centres[b]).norm()
            # Three times h(μ) = μ (3 − μ²)/2, the number that Becke recommends.
            for _ in range(3):
                step = step * (1.5 - 0.5 * step.square())
            products[a] *= 0.5 - 0.5 * step
            products[b] *= 0.5 + 0.5 * step
    return products[atom] / products.sum(dim=0)


def _compiled_share(centres: Tensor, points: Tensor, atom: int) -> Tensor:
    """The same in C++, in one pass over the points."""
    share = open_library(_SOURCE).share
    share.restype = None
    centres, points = centres.contiguous(), points.contiguous()
    inverse = 1 / torch.cdist(centres, centres)  # infinite on the diagonal, which is not read
    made = points.new_empty(len(points))
    numbers = (ctypes.c_int64(number) for number in (len(points), len(centres), atom))
    share(*numbers, *(ctypes.c_void_p(part.data_ptr()) for part in (points, centres, inverse, made)))
    return made


_SOURCE = r"""
#include <cmath>
#include <cstdint>
#include <vector>

constexpr int N = 8;
typedef double V __attribute__((vector_size(N * sizeof(double))));

extern "C" void share(int64_t number, int64_t atoms, int64_t atom, const double* points, const double* centres,
                      const double* inverse, double* made) {
    std::vector<V> space(2 * atoms + 1);  // vectors of this size need an alignment that their container gives
    V *distance = space.data(), *product = distance + atoms;
    for (int64_t start = 0; start < number; start += N) {
        const int64_t here = number - start < N ? number - start : N;
        for (int64_t a = 0; a < atoms; a++) {
            for (int n = 0; n < N; n++) {
                const double* point = points + 3 * (start + (n < here ? n : here - 1));
                double squared = 0;
                for (int axis = 0; axis < 3; axis++) {
                    const double d = point[axis] - centres[3 * a + axis];
                    squared += d * d;
                }
                distance[a][n] = std::sqrt(squared);
            }
            product[a] = V{} + 1.0;
        }
        for (int64_t a = 0; a < atoms; a++)
            for (int64_t b = 0; b < a; b++) {
                V step = (distance[a] - distance[b]) * inverse[a * atoms + b];
                for (int n = 0; n < 3; n++) step = step * (1.5 - 0.5 * (step * step));
                product[a] *= 0.5 - 0.5 * step;
                product[b] *= 0.5 + 0.5 * step;
            }
        V sum{};
        for (int64_t a = 0; a < atoms; a++) sum += product[a];
        const V part = product[atom] / sum;
        for (int64_t n = 0; n < here; n++) made[start + n] = part[n];
    }
}
"""
