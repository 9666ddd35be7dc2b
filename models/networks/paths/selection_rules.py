"""Selection rules: which irreps products of features hold, known before anything is computed."""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

from tesseral.study.parsing.irreps import MulIrrep

Irrep = tuple[int, int]
"""(l, p), p = ±1."""
Orders = frozenset[Irrep]
"""A set of (l, p)."""
SCALAR: Irrep = (0, 1)


def product(left: Orders, right: Orders) -> Orders:
    """Selection rules: every (l, p₁p₂) with |l₁ − l₂| ≤ l ≤ l₁ + l₂.

    For features and other things, such as harmonics. A product of features with themselves holds less:
    `self_product`.
    """
    return frozenset(
        (order, p1 * p2) for l1, p1 in left for l2, p2 in right for order in range(abs(l1 - l2), l1 + l2 + 1)
    )


def harmonics(lmax: int) -> Orders:
    """Those of an edge: (l, (−1)^l) for l = 0..lmax."""
    return frozenset((order, (-1) ** order) for order in range(lmax + 1))


def symmetric_power(order: int, parity: int, n: int) -> tuple[MulIrrep, ...]:
    """Irreps of the n-th symmetric power of one channel of (l, p), in canonical order, with multiplicities.

    By characters: n weights of −l..l, chosen with repetition, add up to M in c(M) ways, and L occurs
    c(L) − c(L+1) times, its parity pⁿ. So 1o ⊗ 1o of one channel is 0e+2e: no 1e.
    """
    # ways[k] counts the choices of k weights by their sum; weights enter one after the other, as often as they like.
    ways = [Counter({0: 1})] + [Counter[int]() for _ in range(n)]
    for weight in range(-order, order + 1):
        for k in range(1, n + 1):
            for total, number in ways[k - 1].items():
                ways[k][total + weight] += number
    sums = ways[n]
    found = (MulIrrep(sums[L] - sums[L + 1], L, parity**n) for L in range(n * order + 1))
    return tuple(term for term in found if term.mul)


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
