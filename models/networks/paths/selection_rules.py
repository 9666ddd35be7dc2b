"""Selection rules: which irreps a product of features contains.

O(3) couples (l₁, p₁) and (l₂, p₂) to every l with |l₁ − l₂| ≤ l ≤ l₁ + l₂, of parity p₁p₂. A product of features with
themselves contains less, because it is symmetric: `symmetric_power` has the rule for one channel.
"""

from collections import Counter

from tesseral.study.parsing.irreps import Irrep, MulIrrep

IrrepSet = frozenset[Irrep]
"""Different irreps, without multiplicities."""
SCALAR: Irrep = (0, 1)
"""0e, the invariants."""


def product(left: IrrepSet, right: IrrepSet) -> IrrepSet:
    """Irreps of the tensor product of different features, such as features and harmonics.

    :param left: irreps of the first factor.
    :param right: irreps of the second factor.
    """
    return frozenset(
        (order, p1 * p2) for l1, p1 in left for l2, p2 in right for order in range(abs(l1 - l2), l1 + l2 + 1)
    )


def allowed(left: Irrep, right: Irrep, result: Irrep) -> bool:
    """Whether left ⊗ right contains `result`.

    :param left: first factor.
    :param right: second factor.
    :param result: irrep asked for.
    """
    return abs(left[0] - right[0]) <= result[0] <= left[0] + right[0] and left[1] * right[1] == result[1]


def harmonics(lmax: int) -> IrrepSet:
    """Irreps of an edge's spherical harmonics: (l, (−1)^l) for l = 0..lmax.

    :param lmax: largest l.
    """
    return frozenset((order, (-1) ** order) for order in range(lmax + 1))


def in_order(irreps: IrrepSet) -> list[Irrep]:
    """Sort canonically: by l, even before odd (e3nn's own order of irreps has odd before even).

    :param irreps: pairs (l, p).
    """
    return sorted(irreps, key=lambda irrep: (irrep[0], -irrep[1]))


def symmetric_power(order: int, parity: int, n: int) -> tuple[MulIrrep, ...]:
    """Irreps, with multiplicities, of the n-th symmetric power of one channel of (l, p), sorted by l.

    By characters: n weights of −l..l, chosen with repetition, sum to M in c(M) ways, and L occurs c(L) − c(L+1) times,
    with parity pⁿ. One channel of 1o times itself gives 0e+2e, for example, and no 1e.

    :param order: l.
    :param parity: p.
    :param n: degree, 0 or more.
    """
    # ways[k] counts the choices of k weights by their sum. Weights are admitted one after the other, each any number of
    # times, so every multiset is counted once.
    ways = [Counter({0: 1})] + [Counter[int]() for _ in range(n)]
    for weight in range(-order, order + 1):
        for k in range(1, n + 1):
            for total, number in ways[k - 1].items():
                ways[k][total + weight] += number
    sums = ways[n]
    terms = (MulIrrep(sums[L] - sums[L + 1], L, parity**n) for L in range(n * order + 1))
    return tuple(term for term in terms if term.mul)
