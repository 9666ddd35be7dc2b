"""Which outputs a network cannot reach, whatever its weights: known before anything is trained."""

from collections.abc import Iterable

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.study.configuration import Configuration
from tesseral.study.irreps import MulIrrep, parse_irreps

Orders = frozenset[tuple[int, int]]
"""A set of (l, p)."""


def product(left: Orders, right: Orders) -> Orders:
    """Selection rules: every (l, p₁p₂) with |l₁ − l₂| ≤ l ≤ l₁ + l₂."""
    return frozenset(
        (order, p1 * p2) for l1, p1 in left for l2, p2 in right for order in range(abs(l1 - l2), l1 + l2 + 1)
    )


def reached(hidden: Iterable[tuple[int, int]], layers: int, harmonics_lmax: int) -> Orders:
    """The irreps (l, p) that the output convolution can make.

    The input is 0e; each layer makes what the selection rules allow of `hidden`, and the output is not limited.
    Self-connections add nothing: the harmonic of l = 0 carries every irrep through.
    """
    harmonics = frozenset((order, (-1) ** order) for order in range(harmonics_lmax + 1))
    allowed = frozenset(hidden)
    features: Orders = frozenset({(0, 1)})
    for _ in range(layers):
        features = product(features, harmonics) & allowed
    return product(features, harmonics)


def unreachable(configuration: Configuration, basis: AuxiliaryBasis) -> tuple[MulIrrep, ...]:
    """The irreps of the basis's layout that this network predicts as exactly zero, in the layout's order."""
    network = configuration.network
    hidden = parse_irreps(network.hidden.resolve().irreps or "")
    made = reached(((term.l, term.p) for term in hidden), network.layers, network.harmonics_lmax)
    return tuple(term for term in basis.layout if (term.l, term.p) not in made)
