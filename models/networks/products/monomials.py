"""The monomials of one channel's components: the basis in which a symmetric contraction is written down.

A polynomial of degree n in d components has (d+n−1)!/(n!(d−1)!) coefficients, a tensor with n axes dⁿ.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, groupby
from typing import NamedTuple

import numpy as np

from tesseral.models.networks.paths.selection_rules import Irrep

LARGEST = 2**15
"""Contents that follow each other share a block, much of it zeros, of at most so many coefficients: few products are
fast where blocks are small, few zeros where they are large."""


class Monomials(NamedTuple):
    """Monomials of one degree, the even ones first; of those, one content after the other."""

    factors: np.ndarray
    """(monomials, degree): which component each factor is, in ascending order."""
    contents: np.ndarray
    """(monomials, degree): which irrep that is of."""
    even: int
    """How many are even under inversion."""

    def __len__(self) -> int:
        return len(self.factors)

    def find(self, factors: np.ndarray) -> np.ndarray:
        """Positions of monomials given by their factors in any order, (…, degree) ↦ (…)."""
        places = (int(self.factors.max()) + 1) ** np.arange(self.factors.shape[1])[::-1]
        keys = self.factors @ places
        order = np.argsort(keys)
        return order[np.searchsorted(keys, np.sort(factors, axis=-1) @ places, sorter=order)]

    def runs(self, parity: int) -> Iterator["Monomials"]:
        """Those of one parity, content by content."""
        first, last = (0, self.even) if parity > 0 else (self.even, len(self))
        for _, group in groupby(range(first, last), key=lambda rank: tuple(self.contents[rank])):
            ranks = list(group)
            yield Monomials(self.factors[ranks], self.contents[ranks], len(ranks) if parity > 0 else 0)


def monomials(irreps: Sequence[Irrep], degree: int) -> Monomials:
    """All those of the components of `irreps`, one channel of each."""
    owner = np.repeat(np.arange(len(irreps)), [2 * order + 1 for order, _ in irreps])
    factors = np.array(list(combinations_with_replacement(range(len(owner)), degree)))
    contents = owner[factors]
    odd = np.array([parity for _, parity in irreps])[contents].prod(axis=1) < 0
    order = np.lexsort((*contents.T[::-1], odd))  # by its last key first, stable
    return Monomials(factors[order], contents[order], int((~odd).sum()))


def polynomial(tensor: np.ndarray, starts: Sequence[int], basis: Monomials) -> np.ndarray:
    """The coefficients of Σ T_{M i j …} x_i x_j …, (2L+1, monomials).

    :param tensor: (2L+1, d₁, …, d_n), its axes those of n irreps in any order.
    :param starts: where the components of each begin.
    :param basis: holds all monomials of those irreps.
    """
    axes = [start + np.arange(size) for start, size in zip(starts, tensor.shape[1:], strict=True)]
    places = basis.find(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)).ravel()
    rows = tensor.reshape(len(tensor), -1)
    return np.stack([np.bincount(places, row, minlength=len(basis)) for row in rows])


def second_moment(coefficients: np.ndarray, basis: Monomials) -> float:
    """⟨p(x)²⟩ of one polynomial of independent normal components of variance 1, each of which has ⟨x²ᵏ⟩ = (2k−1)!!."""
    (used,) = coefficients.nonzero()
    powers = (basis.factors[used, :, None] == np.arange(int(basis.factors.max()) + 1)).sum(axis=1)
    degree = basis.factors.shape[1]
    moments = np.zeros(2 * degree + 1)
    moments[::2] = np.cumprod([1, *range(1, 2 * degree, 2)])
    products = np.ones((len(used), len(used)))
    for power in powers.T[powers.any(axis=0)]:
        products *= moments[power[:, None] + power]
    return float(coefficients[used] @ products @ coefficients[used])
