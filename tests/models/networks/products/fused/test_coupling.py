"""Couplings of an edge against the coefficients that they are made of."""

from itertools import product

import torch
from e3nn import o3

from tesseral.models.networks.products.fused.coupling import entries, pattern

TRIPLES = [(a, b, c) for a, b, c in product(range(7), repeat=3) if abs(a - b) <= c <= a + b]


def test_every_coefficient_to_l_6_is_kept():
    """For every triple: the columns of a pattern, put back in their places, are √(2l+1) C whole."""
    assert len(TRIPLES) == 175
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        matrix = entries(TRIPLES, 49)
        first = 0
        for l1, l2, l3 in TRIPLES:
            pairs = pattern((l1, l2, l3))
            whole = torch.zeros(2 * l1 + 1, 49, 2 * l3 + 1)
            for column, (m1, m3) in enumerate(pairs, start=first):
                whole[m1, :, m3] = matrix[:, column]
            expected = torch.zeros_like(whole)
            expected[:, l2**2 : (l2 + 1) ** 2] = o3.wigner_3j(l1, l2, l3) * (2 * l3 + 1) ** 0.5
            assert torch.allclose(whole, expected, rtol=0, atol=1e-8)
            first += len(pairs)
        assert matrix.shape[1] == first
    finally:
        torch.set_default_dtype(default)


def test_a_pattern_leaves_out_what_is_always_zero():
    """A scalar harmonic joins each component with itself alone."""
    assert pattern((3, 0, 3)) == tuple((m, m) for m in range(7))
    assert sum(len(pattern(triple)) for triple in TRIPLES if max(triple) <= 3) == 541
