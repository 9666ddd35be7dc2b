"""Monomials of one channel's components: the basis in which a symmetric contraction is written.

A symmetric polynomial map of degree n in d components has binom(d+n−1, n) coefficients in this basis. A tensor with an
axis for each factor has dⁿ, most of them repeated.

The *content* of a monomial is the multiset of irreps that its factors belong to, such as (1o, 1o, 2e). A path makes
monomials of one content only, so coefficients are block-diagonal in it.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, groupby
from typing import NamedTuple

import numpy as np

from tesseral.models.networks.paths.selection_rules import Irrep

MAX_BLOCK = 2**15
"""Largest number of coefficients of a block that joins several contents. Joining them means fewer and larger matrix
products, which are faster, but fills the block with zeros off its diagonal."""


class Monomials(NamedTuple):
    """Monomials of one degree: even ones first, and within each parity sorted by content."""

    factors: np.ndarray
    """(monomials, degree): index of the component that each factor is, ascending."""
    contents: np.ndarray
    """(monomials, degree): index of the irrep that each factor belongs to."""
    even: int
    """Number of monomials that are even under inversion."""

    def __len__(self) -> int:
        return len(self.factors)

    def find(self, factors: np.ndarray) -> np.ndarray:
        """Look up monomials by their factors in any order.

        :param factors: (…, degree), indices of components.
        :returns: indices of the monomials, (…).
        """
        # Factors in ascending order, read as the digits of a number, identify a monomial.
        places = (int(self.factors.max()) + 1) ** np.arange(self.factors.shape[1])[::-1]
        keys = self.factors @ places
        order = np.argsort(keys)
        return order[np.searchsorted(keys, np.sort(factors, axis=-1) @ places, sorter=order)]

    def runs(self, parity: int) -> Iterator["Monomials"]:
        """Iterate over the monomials of one parity, grouped by content.

        :param parity: 1 or −1.
        """
        first, last = (0, self.even) if parity > 0 else (self.even, len(self))
        for _, group in groupby(range(first, last), key=lambda rank: tuple(self.contents[rank])):
            ranks = list(group)
            yield Monomials(self.factors[ranks], self.contents[ranks], len(ranks) if parity > 0 else 0)


def monomials(irreps: Sequence[Irrep], degree: int) -> Monomials:
    """List all monomials of a degree in the components of `irreps`, one channel of each.

    :param irreps: each once, in the order of the components.
    :param degree: 1 or more.
    """
    owner = np.repeat(np.arange(len(irreps)), [2 * order + 1 for order, _ in irreps])
    factors = np.array(list(combinations_with_replacement(range(len(owner)), degree)))
    contents = owner[factors]
    odd = np.array([parity for _, parity in irreps])[contents].prod(axis=1) < 0
    order = np.lexsort((*contents.T[::-1], odd))  # sorts by the last key first, and is stable
    return Monomials(factors[order], contents[order], int((~odd).sum()))


def polynomial(tensor: np.ndarray, starts: Sequence[int], basis: Monomials) -> np.ndarray:
    """Collect the coefficients of Σ_{ij…} T_{M i j …} x_i x_j … in a basis of monomials.

    :param tensor: (2L+1, d₁, …, d_n), with an axis for each of n irreps in any order.
    :param starts: index of the first component of each of these irreps.
    :param basis: contains all monomials of these irreps.
    :returns: (2L+1, monomials).
    """
    axes = [start + np.arange(size) for start, size in zip(starts, tensor.shape[1:], strict=True)]
    places = basis.find(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)).ravel()
    rows = tensor.reshape(len(tensor), -1)
    return np.stack([np.bincount(places, row, minlength=len(basis)) for row in rows])


def second_moment(coefficients: np.ndarray, basis: Monomials) -> float:
    """Compute ⟨p(x)²⟩ of a polynomial of independent standard normal components, which have ⟨x²ᵏ⟩ = (2k−1)!!.

    :param coefficients: (monomials,).
    :param basis: the monomials, all of one degree.
    """
    (used,) = coefficients.nonzero()
    powers = (basis.factors[used, :, None] == np.arange(int(basis.factors.max()) + 1)).sum(axis=1)
    degree = basis.factors.shape[1]
    # ⟨xᵏ⟩ by k: 0 for odd k; 1, 1, 3, 15, … for even k.
    moments = np.zeros(2 * degree + 1)
    moments[::2] = np.cumprod([1, *range(1, 2 * degree, 2)])
    # ⟨x^a x^b⟩ of every pair of monomials: the moments of each component multiply.
    products = np.ones((len(used), len(used)))
    for power in powers.T[powers.any(axis=0)]:
        products *= moments[power[:, None] + power]
    return float(coefficients[used] @ products @ coefficients[used])
