"""Couplings of an edge: Clebsch-Gordan coefficients contracted with its harmonics, which all channels share."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from e3nn import o3
from torch import Tensor

Triple = tuple[int, int, int]
"""l₁ of the features, l₂ of the harmonic and l of the result."""


@lru_cache(maxsize=4096)
def pattern(triple: Triple) -> tuple[tuple[int, int], ...]:
    """The pairs (m₁, m) for which Σ_{m₂} C_{m₁ m₂ m} Y_{m₂} is not zero for every Y, in ascending order.

    :param triple: l₁, l₂ and l.
    """
    some = (o3.wigner_3j(*triple, dtype=torch.float64).abs() > 1e-9).any(dim=1)
    return tuple((first, last) for first, last in some.nonzero().tolist())


def entries(triples: Sequence[Triple], harmonics: int) -> Tensor:
    """The matrix that makes an edge's couplings of its harmonics, √(2l+1) C: a column for each pair of each `pattern`.

    :param triples: in the order of the columns.
    :param harmonics: (lmax+1)², the number of rows.
    :returns: (harmonics, pairs of all triples), in the default dtype.
    """
    columns = [torch.zeros(harmonics, 0)]
    for l1, l2, l3 in triples:
        block = torch.zeros(harmonics, 2 * l1 + 1, 2 * l3 + 1)
        block[l2**2 : (l2 + 1) ** 2] = o3.wigner_3j(l1, l2, l3).transpose(0, 1) * (2 * l3 + 1) ** 0.5
        columns.append(torch.stack([block[:, first, last] for first, last in pattern((l1, l2, l3))], dim=1))
    return torch.cat(columns, dim=1)
