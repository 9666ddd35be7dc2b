"""What a network can reach, whatever its weights: known before anything is trained, by selection rules alone.

A walk forwards says which irreps each layer makes, a walk backwards which of them an output depends on.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations
from typing import Literal, NamedTuple

from tesseral.study.configuration import Configuration
from tesseral.study.irreps import MulIrrep, parse_irreps

Irrep = tuple[int, int]
"""(l, p), p = ±1."""
Orders = frozenset[Irrep]
"""A set of (l, p)."""
SCALAR: Irrep = (0, 1)


class Stage(NamedTuple):
    """One convolution of the gated network: a layer's, or the output's."""

    inputs: Orders
    """Irreps of the features that enter."""
    outputs: Orders
    """What is made, after the gate: of the irreps asked for, those that selection rules allow."""
    live: Orders
    """Those `outputs` that an output of the network depends on."""
    paths: tuple[tuple[Irrep, Irrep], ...]
    """(input, what it makes with an edge's harmonic), once for each harmonic; the scalars that gate are among them."""


class Dead(NamedTuple):
    """A hidden irrep that was asked for and is of no use in one layer."""

    layer: int
    """From 1 at the input."""
    irrep: MulIrrep
    reason: Literal["made by nothing", "read by nothing"]
    """Nothing feeds it, or no output of the network depends on it."""


def product(left: Orders, right: Orders) -> Orders:
    """Selection rules: every (l, p₁p₂) with |l₁ − l₂| ≤ l ≤ l₁ + l₂.

    For features and other things, such as harmonics. A product of features with themselves holds less:
    `self_product`.
    """
    return frozenset(
        (order, p1 * p2) for l1, p1 in left for l2, p2 in right for order in range(abs(l1 - l2), l1 + l2 + 1)
    )


def before_gate(outputs: Orders) -> Orders:
    """What a convolution makes for a gate: its outputs, and 0e to multiply those of l > 0."""
    return outputs | {SCALAR} if any(order for order, _ in outputs) else outputs


@lru_cache(maxsize=1024)
def walk(hidden: Orders, layers: int, harmonics_lmax: int, layout: Orders) -> tuple[Stage, ...]:
    """Every layer, then the output.

    The input is 0e; each layer makes what the selection rules allow of `hidden`, and the output what they allow of
    `layout`. Self-connections add nothing: the harmonic of l = 0 carries every irrep through.
    """
    harmonics = _harmonics(harmonics_lmax)
    features: Orders = frozenset({SCALAR})
    made = [features]
    for asked in (*[hidden] * layers, layout):
        features = product(features, harmonics) & asked
        made.append(features)
    live = features
    stages = []
    for number in range(layers, -1, -1):
        inputs, outputs = made[number], made[number + 1]
        gated = number < layers
        kept = before_gate(outputs) if gated else outputs
        paths = tuple(
            (source, target)
            for source in sorted(inputs)
            for harmonic in harmonics
            for target in product(frozenset({source}), frozenset({harmonic})) & kept
        )
        stages.append(Stage(inputs, outputs, live, paths))
        needed = before_gate(live) if gated else live
        live = frozenset(source for source, target in paths if target in needed)
    return tuple(reversed(stages))


def reached(hidden: Iterable[Irrep], layers: int, harmonics_lmax: int) -> Orders:
    """The irreps (l, p) that the output convolution can make, its outputs not limited."""
    *_, output = walk(frozenset(hidden), layers, harmonics_lmax, frozenset())
    return product(output.inputs, _harmonics(harmonics_lmax))


def stages(configuration: Configuration, layout: Iterable[MulIrrep]) -> tuple[Stage, ...]:
    """`walk` of a configuration's network whose outputs are `layout`."""
    network = configuration.network
    return walk(_orders(hidden_irreps(configuration)), network.layers, network.harmonics_lmax, _orders(layout))


def hidden_irreps(configuration: Configuration) -> tuple[MulIrrep, ...]:
    """The hidden irreps that a configuration asks for, in canonical order."""
    return parse_irreps(configuration.network.hidden.resolve().irreps or "")


def unreachable(configuration: Configuration, layout: tuple[MulIrrep, ...]) -> tuple[MulIrrep, ...]:
    """The irreps of a layout that this network gives as exactly zero, in the layout's order.

    Which irreps of a target that costs is for `Quantity.unreached` to say.
    """
    made = stages(configuration, layout)[-1].outputs
    return tuple(term for term in layout if (term.l, term.p) not in made)


def dead(configuration: Configuration, layout: Iterable[MulIrrep]) -> list[Dead]:
    """The hidden irreps of no use, layer by layer, in canonical order. What nothing makes is not said to be unread."""
    found = []
    for number, stage in enumerate(stages(configuration, layout)[:-1], start=1):
        for term in hidden_irreps(configuration):
            if (term.l, term.p) not in stage.outputs:
                found.append(Dead(number, term, "made by nothing"))
            elif (term.l, term.p) not in stage.live:
                found.append(Dead(number, term, "read by nothing"))
    return found


def describe_dead(configuration: Configuration, layout: Iterable[MulIrrep]) -> str:
    """One phrase on the hidden irreps of no use, such as `0o in layer 3 is read by nothing`; empty if there are none.

    Irreps that are dead in the same layers for the same reason share a clause.
    """
    layers = tuple(range(1, configuration.network.layers + 1))
    where: dict[Irrep, dict[str, tuple[int, ...]]] = {}
    for layer, (_, order, parity), reason in dead(configuration, layout):
        of_irrep = where.setdefault((order, parity), {})
        of_irrep[reason] = (*of_irrep.get(reason, ()), layer)
    clauses: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for (order, parity), of_irrep in where.items():
        if len(of_irrep) == 2 and sum(map(len, of_irrep.values())) == len(layers):
            of_irrep = {"made or read by nothing": layers}
        for why, numbers in of_irrep.items():
            clauses.setdefault((numbers, why), []).append(str(MulIrrep(1, order, parity))[2:])
    return "; ".join(
        f"{'+'.join(irreps)} in {_layers(numbers, layers)} {'is' if len(irreps) == 1 else 'are'} {why}"
        for (numbers, why), irreps in clauses.items()
    )


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
    multiply whole. Any layer that multiplies features with features obeys it. The gated network's do not: they
    multiply features with harmonics, by `product`.
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


def _harmonics(lmax: int) -> Orders:
    return frozenset((order, (-1) ** order) for order in range(lmax + 1))


def _orders(terms: Iterable[MulIrrep]) -> Orders:
    return frozenset((term.l, term.p) for term in terms)


def _layers(numbers: tuple[int, ...], every: tuple[int, ...]) -> str:
    """`layer 2`, `layers 1 and 3`, `layers 1, 2 and 4`, `every layer`."""
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    if numbers == every:
        return "every layer"
    return f"layers {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
