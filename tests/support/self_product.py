"""The product of features with themselves by characters: an independent count for tests of paths and reach."""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

from tesseral.models.networks.paths.selection_rules import Irrep, symmetric_power
from tesseral.study.parsing.irreps import MulIrrep


def self_product(features: Iterable[MulIrrep]) -> tuple[MulIrrep, ...]:
    """Irreps of the product of features with themselves, in canonical order, with multiplicities.

    x_a x_b is symmetric in a and b, so for V = ⊕ m·(l, p), each irrep once,

        Sym² V = ⊕ [m(m+1)/2 Sym²(l, p) ⊕ m(m−1)/2 Λ²(l, p)] ⊕ ⊕_{pairs} m₁m₂ (l₁, p₁) ⊗ (l₂, p₂):

    one channel has its symmetric square alone, two have the antisymmetric part between them too, and different irreps
    multiply whole. Any layer that multiplies features with features obeys it. Messages do not: they multiply features
    with harmonics, by `product`.
    """
    total: Counter[Irrep] = Counter()
    muls: Counter[Irrep] = Counter()
    for term in features:
        muls[term.l, term.p] += term.mul
    for (order, parity), mul in muls.items():
        symmetric = {term.l for term in symmetric_power(order, parity, 2)}
        for L in range(2 * order + 1):
            total[L, 1] += mul * (mul + 1) // 2 if L in symmetric else mul * (mul - 1) // 2
    for ((l1, p1), mul1), ((l2, p2), mul2) in combinations(muls.items(), 2):
        for L in range(abs(l1 - l2), l1 + l2 + 1):
            total[L, p1 * p2] += mul1 * mul2
    return tuple(MulIrrep(mul, *key) for key, mul in sorted(total.items(), key=lambda i: (i[0][0], -i[0][1])) if mul)
