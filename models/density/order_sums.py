"""The sums of ε in C++: what `epsilon_by_order` adds up over a chunk of points, in one call on a CPU.

64 points that lie near one another are evaluated together. For each atom all exponentials come first, then each order's
functions. A primitive is skipped where it is negligible on all of these points, as in PyTorch's way.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tesseral.models.compiled.library import open_library
from tesseral.models.density.primitives import Element
from tesseral.study.constants import BOHR

LARGEST = 8
"""Largest l that the C++ knows."""
_INTEGER, _POINTER = ctypes.c_int64, ctypes.c_void_p


class OrderSums:
    """Adds up w |ρ_l| for each l, w |Σ_l ρ_l| and w Σ_l ρ'_l over points, for the first density ρ and the second ρ'.

    :param orders: every l of the basis, none above `LARGEST`.
    :param elements: from `primitives`, with two densities in them, on the CPU.
    :raises NoLibraryError: if C++ cannot be compiled.
    """

    def __init__(self, orders: Sequence[int], elements: Sequence[Element]) -> None:
        self._add = open_library(_SOURCE).add
        self._add.restype = None
        self._kept: list[Tensor] = []
        self._orders = len(orders)
        self._sums = torch.zeros(len(orders) + 2, dtype=torch.float64)
        centres, pieces, atoms = [], [], 0
        for element in elements:
            for row, centre in enumerate(element.centres):
                centres.append(centre)
                for block in element.blocks:
                    extents = torch.tensor(block.extents, dtype=torch.float64)
                    amplitudes = block.amplitudes[row].T.contiguous()  # of one primitive, then of the next
                    places = self._place(block.exponents), self._place(extents), self._place(amplitudes)
                    pieces += [atoms, orders.index(block.order), block.order, len(extents), *places]
                atoms += 1
        self._centres = torch.stack(centres).contiguous()
        self._pieces, self._number = (_INTEGER * len(pieces))(*pieces), len(pieces) // 7

    def _place(self, values: Tensor) -> int:
        self._kept.append(values.contiguous())
        return self._kept[-1].data_ptr()

    def add(self, points: Tensor, weights: Tensor) -> None:
        """Add a chunk of points.

        :param points: Å, shape (points, 3), near one another.
        :param weights: shape (points,).
        """
        points, weights = (points / BOHR).contiguous(), weights.contiguous()
        self._add(
            _INTEGER(len(points)),
            *map(_POINTER, (points.data_ptr(), weights.data_ptr(), self._centres.data_ptr())),
            _INTEGER(self._number),
            self._pieces,
            _INTEGER(self._orders),
            _POINTER(self._sums.data_ptr()),
        )

    @property
    def sums(self) -> tuple[Tensor, Tensor]:
        """What was added up: of |ρ_l| for each l and of |ρ|, shape (orders + 1,); and of ρ', ()."""
        return self._sums[:-1], self._sums[-1]


def knows(orders: Sequence[int], device: Any) -> bool:
    """Whether the sums of these orders can be added up here.

    :param orders: every l of a basis.
    :param device: of the positions.
    """
    return device.type == "cpu" and max(orders, default=0) <= LARGEST


_SOURCE = r"""
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int N = 8;
#elif defined(__AVX__)
constexpr int N = 4;
#else
constexpr int N = 2;
#endif
constexpr int POINTS = 64, VECTORS = POINTS / N, ORDERS = 9;
typedef double V __attribute__((vector_size(N * sizeof(double))));
typedef int64_t I __attribute__((vector_size(N * sizeof(double))));

struct Piece {
    int64_t atom, place, order, number;  // primitives, from the most to the least extended
    const double *exponents, *extents, *amplitudes;  // amplitudes: (primitives, densities · (2l+1))
};

// exp(x) of x below 0: 2^n exp(r) with |r| < 0.35, exp(r) by its series to r^13; 0 below -700.
static inline V exponential(V x) {
    const V shift = V{} + 6755399441055744.0, rounded = x * 1.4426950408889634074 + shift, n = rounded - shift;
    const V r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    V sum = V{} + 1.0 / 6227020800;
    sum = sum * r + 1.0 / 479001600;
    sum = sum * r + 1.0 / 39916800;
    sum = sum * r + 1.0 / 3628800;
    sum = sum * r + 1.0 / 362880;
    sum = sum * r + 1.0 / 40320;
    sum = sum * r + 1.0 / 5040;
    sum = sum * r + 1.0 / 720;
    sum = sum * r + 1.0 / 120;
    sum = sum * r + 1.0 / 24;
    sum = sum * r + 1.0 / 6;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    const I power = ((I)rounded + 1023) << 52, kept = x > -700.0;
    return (V)((I)(sum * (V)power) & kept);
}

struct Chunk {
    V x[VECTORS], y[VECTORS], z[VECTORS], squared[VECTORS];
    V harmonics[ORDERS * ORDERS][VECTORS];
    V values[2][ORDERS][VECTORS];
};

// T_lm of `solid_harmonics`, rows l² to (l+1)².
static void harmonics(Chunk& c, int64_t lmax) {
    for (int v = 0; v < VECTORS; v++) {
        const V a = c.z[v], b = c.x[v], z = c.y[v];
        c.harmonics[0][v] = V{} + 1.0;
        if (lmax > 0) c.harmonics[1][v] = b, c.harmonics[2][v] = z, c.harmonics[3][v] = a;
        for (int64_t l = 1; l < lmax; l++) {
            V (*last)[VECTORS] = c.harmonics + l * l, (*before)[VECTORS] = c.harmonics + (l - 1) * (l - 1);
            V (*next)[VECTORS] = c.harmonics + (l + 1) * (l + 1);
            for (int64_t m = -l; m <= l; m++) {
                V inner = last[l + m][v] * z;
                if (m > -l && m < l)
                    inner -= before[l - 1 + m][v] * c.squared[v] * ((double)(l * l - m * m) / (4 * l * l - 1));
                next[l + 1 + m][v] = inner;
            }
            const V sine = last[0][v], cosine = last[2 * l][v];
            next[0][v] = a * sine + b * cosine;
            next[2 * l + 2][v] = a * cosine - b * sine;
        }
    }
}

template <int L> static void evaluate(Chunk& c, const Piece& piece, int64_t number) {
    constexpr int M = 2 * L + 1;
    V radial[2 * M][VECTORS];
    memset(radial, 0, sizeof radial);
    for (int64_t k = 0; k < number; k++) {
        V raised[VECTORS];
        for (int v = 0; v < VECTORS; v++) raised[v] = exponential(-piece.exponents[k] * c.squared[v]);
        const double* amplitude = piece.amplitudes + k * 2 * M;
        for (int j = 0; j < 2 * M; j++)
            for (int v = 0; v < VECTORS; v++) radial[j][v] += amplitude[j] * raised[v];
    }
    for (int density = 0; density < 2; density++)
        for (int m = 0; m < M; m++)
            for (int v = 0; v < VECTORS; v++)
                c.values[density][piece.place][v] += radial[density * M + m][v] * c.harmonics[L * L + m][v];
}

static void (*const EVALUATE[])(Chunk&, const Piece&, int64_t) = {
    evaluate<0>, evaluate<1>, evaluate<2>, evaluate<3>, evaluate<4>,
    evaluate<5>, evaluate<6>, evaluate<7>, evaluate<8>};

extern "C" void add(int64_t number, const double* points, const double* weights, const double* centres,
                    int64_t pieces, const Piece* piece, int64_t orders, double* sums) {
    static thread_local Chunk c;
    for (int64_t start = 0; start < number; start += POINTS) {
        const int64_t here = number - start < POINTS ? number - start : POINTS;
        double place[3][POINTS], weight[POINTS], low[3], high[3];
        for (int axis = 0; axis < 3; axis++) {
            for (int n = 0; n < POINTS; n++)  // the last chunk repeats its last point, with weight 0
                place[axis][n] = points[3 * (start + (n < here ? n : here - 1)) + axis];
            low[axis] = high[axis] = place[axis][0];
            for (int n = 1; n < POINTS; n++) {
                low[axis] = place[axis][n] < low[axis] ? place[axis][n] : low[axis];
                high[axis] = place[axis][n] > high[axis] ? place[axis][n] : high[axis];
            }
        }
        for (int n = 0; n < POINTS; n++) weight[n] = n < here ? weights[start + n] : 0;
        memset(c.values, 0, sizeof c.values);
        for (int64_t first = 0, next; first < pieces; first = next) {
            const int64_t atom = piece[first].atom;
            double outside = 0;  // squared distance of the atom from the box of the points
            for (int axis = 0; axis < 3; axis++) {
                const double centre = centres[3 * atom + axis];
                const double below = low[axis] - centre, above = centre - high[axis];
                const double gap = below > 0 ? below : above > 0 ? above : 0;
                outside += gap * gap;
            }
            int64_t lmax = -1, counts[2 * ORDERS];
            for (next = first; next < pieces && piece[next].atom == atom; next++) {
                int64_t count = 0;
                while (count < piece[next].number && piece[next].extents[count] > 0 &&
                       piece[next].extents[count] * piece[next].extents[count] > outside) count++;
                counts[next - first] = count;
                if (count && piece[next].order > lmax) lmax = piece[next].order;
            }
            if (lmax < 0) continue;
            V* axes[] = {c.x, c.y, c.z};
            for (int axis = 0; axis < 3; axis++) {
                memcpy(axes[axis], place[axis], sizeof place[axis]);
                for (int v = 0; v < VECTORS; v++) axes[axis][v] -= centres[3 * atom + axis];
            }
            for (int v = 0; v < VECTORS; v++) c.squared[v] = c.x[v] * c.x[v] + c.y[v] * c.y[v] + c.z[v] * c.z[v];
            harmonics(c, lmax);
            for (int64_t n = first; n < next; n++)
                if (counts[n - first]) EVALUATE[piece[n].order](c, piece[n], counts[n - first]);
        }
        double error[POINTS] = {}, expected[POINTS] = {}, part[POINTS];
        for (int64_t order = 0; order < orders; order++) {
            memcpy(part, c.values[0][order], sizeof part);
            for (int n = 0; n < POINTS; n++) {
                error[n] += part[n];
                sums[order] += weight[n] * (part[n] < 0 ? -part[n] : part[n]);
            }
            memcpy(part, c.values[1][order], sizeof part);
            for (int n = 0; n < POINTS; n++) expected[n] += part[n];
        }
        for (int n = 0; n < POINTS; n++) {
            sums[orders] += weight[n] * (error[n] < 0 ? -error[n] : error[n]);
            sums[orders + 1] += weight[n] * expected[n];
        }
    }
}
"""
