"""Clebsch-Gordan products in exact arithmetic, for questions of rank: integers modulo a prime, so nothing is rounded.

Up to a factor for each component, features of order l are the coefficients of a binary form of degree 2l,
f = Σ_i f_i x^{2l−i} y^i, and the Clebsch-Gordan product of two of them is their transvectant of degree 2L, the only
bilinear map that rotations commute with. All of its coefficients are integers.
"""

from functools import lru_cache
from math import comb, perm

import numpy as np
from numpy.typing import NDArray

PRIME = 2**31 - 1
"""Products of two residues fit into 64 bits. A function that is not zero is zero at a random point with a chance of
degree/PRIME."""

Residues = NDArray[np.int64]


def random_forms(number: int, order: int, seed: int) -> Residues:
    """(number, 2l+1) random coefficients; fewer or more of one seed begin alike."""
    bits = np.random.PCG64([seed, order]).random_raw(number * (2 * order + 1))
    return (bits % np.uint64(PRIME)).astype(np.int64).reshape(number, 2 * order + 1)


@lru_cache(maxsize=4096)
def coupling(left: int, right: int, order: int) -> Residues:
    """t_{ij} = Σ_a (−1)^a (r over a) (2l₁−i)_{r−a} (i)_a (2l₂−j)_a (j)_{r−a} with r = l₁ + l₂ − L and (n)_a falling.

    What f_i g_j adds to the coefficient i + j − r of Σ_a (−1)^a (r over a) ∂_x^{r−a} ∂_y^a f · ∂_x^a ∂_y^{r−a} g.

    :returns: (2l₁+1, 2l₂+1), residues.
    """
    r = left + right - order

    def term(i: int, j: int) -> int:
        return sum(
            (-1) ** a * comb(r, a) * perm(2 * left - i, r - a) * perm(i, a) * perm(2 * right - j, a) * perm(j, r - a)
            for a in range(r + 1)
        )

    return np.array([[term(i, j) % PRIME for j in range(2 * right + 1)] for i in range(2 * left + 1)], dtype=np.int64)


def transvectant(left: Residues, right: Residues, order: int, *, leading: bool = False) -> Residues:
    """(…, 2L+1) from (…, 2l₁+1) and (…, 2l₂+1); with `leading` its first coefficient alone, (…, 1).

    The first one, of x^{2L}, tells the whole apart from zero: it is the component of highest weight.
    """
    one, other = left.shape[-1] - 1, right.shape[-1] - 1
    weights, shift = coupling(one // 2, other // 2, order), (one + other) // 2 - order
    width = 1 if leading else 2 * order + 1
    made = np.zeros((*np.broadcast_shapes(left.shape[:-1], right.shape[:-1]), width), dtype=np.int64)
    for i in range(one + 1):
        first, last = max(0, shift - i), min(other + 1, width + shift - i)  # of j, so that 0 ≤ i + j − shift < width
        if first < last:
            scaled = left[..., i, None] * weights[i, first:last] % PRIME
            made[..., i + first - shift : i + last - shift] += scaled * right[..., first:last] % PRIME
    return made % PRIME


def independent(rows: Residues, most: int) -> list[int]:
    """The rows that are no combination of rows before them, by position; `most` of them and no more.

    By elimination: they are the pivot columns of the transpose.
    """
    matrix = rows.T.copy()
    found: list[int] = []
    for column in range(matrix.shape[1]):
        rank = len(found)
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
        found.append(column)
    return found
