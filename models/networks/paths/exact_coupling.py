"""Clebsch-Gordan products in integers modulo a prime, for exact questions of rank.

In floating point, a rank depends on a threshold between small singular values and rounding. Integers modulo a prime
need none. The Clebsch-Gordan coefficients themselves contain square roots, so
features are written in another basis: up to a factor for each component, features of order l are the coefficients of a
binary form of degree 2l,

    f = Σ_i f_i x^{2l−i} y^i,

and the coupling of two forms to order L is, up to a factor, their transvectant of degree 2L: the only bilinear map to
that order which commutes with rotations. All its coefficients are integers. Rank does not depend on the factors.
"""

from functools import lru_cache
from math import comb, perm

import numpy as np
from numpy.typing import NDArray

PRIME = 2**31 - 1
"""Products of two residues fit into 64 bits. A nonzero polynomial vanishes at a random point with a probability of at
most degree/PRIME (Schwartz-Zippel)."""

Residues = NDArray[np.int64]


def random_forms(number: int, order: int, seed: int) -> Residues:
    """Draw random coefficients, (number, 2l+1); for one seed, a longer draw begins with the shorter one.

    :param number: of forms.
    :param order: l.
    :param seed: of the draw.
    """
    bits = np.random.PCG64([seed, order]).random_raw(number * (2 * order + 1))
    return (bits % np.uint64(PRIME)).astype(np.int64).reshape(number, 2 * order + 1)


@lru_cache(maxsize=4096)
def coefficients(left: int, right: int, order: int) -> Residues:
    """Coefficients t_ij of the coupling l₁ ⊗ l₂ → L. With r = l₁ + l₂ − L and the falling factorial (n)_a,

        t_ij = Σ_a (−1)^a binom(r, a) (2l₁−i)_{r−a} (i)_a (2l₂−j)_a (j)_{r−a},

    is the coefficient of f_i g_j in the term of y^{i+j−r} of the transvectant

        Σ_a (−1)^a binom(r, a) ∂_x^{r−a} ∂_y^a f · ∂_x^a ∂_y^{r−a} g.

    :param left: l₁.
    :param right: l₂.
    :param order: L.
    :returns: (2l₁+1, 2l₂+1), modulo `PRIME`.
    """
    r = left + right - order

    def term(i: int, j: int) -> int:
        return sum(
            (-1) ** a * comb(r, a) * perm(2 * left - i, r - a) * perm(i, a) * perm(2 * right - j, a) * perm(j, r - a)
            for a in range(r + 1)
        )

    return np.array([[term(i, j) % PRIME for j in range(2 * right + 1)] for i in range(2 * left + 1)], dtype=np.int64)


def couple(left: Residues, right: Residues, order: int, *, highest: bool = False) -> Residues:
    """Couple forms of order l₁ and l₂ to order L.

    :param left: (…, 2l₁+1).
    :param right: (…, 2l₂+1).
    :param order: L.
    :param highest: return the first coefficient alone, that of x^{2L}: the component of highest weight. It vanishes
        identically only if the whole form does.
    :returns: (…, 2L+1), or (…, 1) with `highest`; modulo `PRIME`.
    """
    last_left, last_right = left.shape[-1] - 1, right.shape[-1] - 1
    weights, shift = coefficients(last_left // 2, last_right // 2, order), (last_left + last_right) // 2 - order
    width = 1 if highest else 2 * order + 1
    coupled = np.zeros((*np.broadcast_shapes(left.shape[:-1], right.shape[:-1]), width), dtype=np.int64)
    for i in range(last_left + 1):
        first, last = max(0, shift - i), min(last_right + 1, width + shift - i)  # of j, so 0 ≤ i + j − shift < width
        if first < last:
            # Reduced after every product: the product of two residues is the most that 64 bits hold.
            scaled = left[..., i, None] * weights[i, first:last] % PRIME
            coupled[..., i + first - shift : i + last - shift] += scaled * right[..., first:last] % PRIME
    return coupled % PRIME


def independent_rows(rows: Residues, most: int) -> list[int]:
    """Select the rows that are no linear combination of the rows before them, `most` of them at most.

    By Gaussian elimination of the transpose: they are its pivot columns.

    :param rows: (rows, columns), modulo `PRIME`.
    :param most: a known bound on the rank; elimination stops there.
    :returns: indices, ascending.
    """
    matrix = rows.T.copy()
    pivots: list[int] = []
    for column in range(matrix.shape[1]):
        rank = len(pivots)
        if rank == min(most, len(matrix)):
            break
        nonzero = np.flatnonzero(matrix[rank:, column])
        if not len(nonzero):
            continue
        pivot = rank + nonzero[0]
        matrix[[rank, pivot]] = matrix[[pivot, rank]]
        row = matrix[rank, column:] * pow(int(matrix[rank, column]), -1, PRIME) % PRIME
        below = rank + nonzero[matrix[rank + nonzero, column] != 0]
        below = below[below > rank]
        matrix[below, column:] = (matrix[below, column:] - matrix[below, column, None] * row % PRIME) % PRIME
        pivots.append(column)
    return pivots
