"""Parts of a convolution: the self-connection, and the messages that an atom gathers from its neighbours."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tesseral.models.networks.paths.selection_rules import Irrep, harmonics, product
from tesseral.models.networks.sizing.atom_parts import ELEMENTS, of
from tesseral.models.networks.sizing.blueprint import Count, Features, Part, Place, Widths, irreps_of


@dataclass(frozen=True)
class SelfConnectionPart(Part):
    """`o3.FullyConnectedTensorProduct` with the one-hot: a linear map with separate weights for each element."""

    wanted: Features

    def produces(self, *inputs: Features) -> Features:
        """The wanted irreps that enter."""
        return of(self.wanted, irreps_of(inputs[0]))

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same irreps."""
        return (of(inputs[0], irreps_of(wanted)),)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each element and each pair of channels of one irrep."""
        elements = widths[ELEMENTS]
        entering, produced, live = (widths.muls(features) for features in (*place.inputs, place.produced, place.live))
        parameters = alive = atom = 0
        for irrep in produced:
            mul, dim = entering[irrep], 2 * irrep[0] + 1
            parameters += mul * elements * produced[irrep]
            # Where a one-hot enters, weights of two different elements always meet a zero, and get no gradient.
            alive += (1 if place.constant else mul) * elements * live.get(irrep, 0)
            atom += _self_connection(mul, elements, produced[irrep], dim, place.for_constant, place.for_input)
        return Count(parameters, alive, atom)


def _self_connection(u: int, v: int, w: int, i: int, constant: int, entering: int) -> int:
    """Operations of Σ_uv W_uvw x_ui z_v for each w and i, in the order of contraction that e3nn's opt_einsum chooses.

    opt_einsum minimises a cost that includes outer products and sums over a single term. torch's counter sees neither,
    because they are not run as matrix products; so each order has two costs, the one that is minimised and the one that
    is counted.

    :param constant: operations of each weight times a number without gradient, `Place.for_constant`.
    :param entering: operations of each weight times an input, `Place.for_input`.
    """
    # (what opt_einsum minimises, what torch counts)
    features_first = (2 * u * v * w * i + 2 * v * w * i, entering * u * v * w * i + (v > 1) * constant * v * w * i)
    elements_first = (2 * u * v * w + 2 * u * w * i, constant * u * v * w + (u > 1) * entering * u * w * i)
    outer_first = (u * v * i + 2 * u * v * w * i, entering * u * v * w * i)
    return min(features_first, elements_first, outer_first, key=lambda order: order[0])[1]


@dataclass(frozen=True)
class MessagesPart(Part):
    """`tesseral.models.networks.layers.messages`: linear, product with harmonics, sum over neighbours, linear."""

    wanted: Features
    lmax: int
    radial: tuple[int, ...]
    """Layer sizes of the radial network, without the last."""

    def produces(self, *inputs: Features) -> Features:
        """The wanted irreps that some product of an input with a harmonic contains."""
        return of(self.wanted, product(irreps_of(inputs[0]), harmonics(self.lmax)))

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """Inputs whose product with some harmonic contains a wanted irrep.

        The selection rules are symmetric in the three irreps, so these are in the wanted irreps times the harmonics.
        """
        (entering,) = inputs
        return (of(entering, product(irreps_of(wanted), harmonics(self.lmax))),)

    def count(self, place: Place, widths: Widths) -> Count:
        """Two linear maps for each atom; for each edge the product and the radial network, an output for each path and
        channel."""
        entering, produced, live = (widths.muls(features) for features in (*place.inputs, place.produced, place.live))
        sources, targets = _fans(place, self.lmax)
        parameters = alive = atom = edge = weights = live_weights = 0
        for irrep, dim, paths, columns, used in sources:  # the first linear map, and the product
            mul = entering[irrep]
            parameters += mul**2
            alive += used * mul**2
            atom += (place.for_input if columns else 2) * mul**2 * dim  # what no path takes is computed, no gradient
            edge += 2 * (self.lmax + 1) ** 2 * dim * columns + place.for_constant * mul * columns * (dim + paths)
        for irrep, dim, fan in targets:  # the second linear map
            mul = sum(paths * entering[source] for source, paths in fan)
            weights += mul
            parameters += mul * produced[irrep]
            atom += place.for_feature * mul * produced[irrep] * dim
            if irrep in live:
                live_weights += mul
                alive += mul * live[irrep]
        numbers = radial_count(self.radial, weights, live_weights, place)
        return Count(parameters + numbers.parameters, alive + numbers.live, atom, edge + numbers.edge)


Source = tuple[Irrep, int, int, int, bool]
"""An input irrep, 2l+1, number of its paths, their components, whether any leads to a live irrep."""
Target = tuple[Irrep, int, tuple[tuple[Irrep, int], ...]]
"""A produced irrep, 2l+1, and the number of paths to it from each input irrep."""


@lru_cache(maxsize=4096)
def _fans(place: Place, lmax: int) -> tuple[tuple[Source, ...], tuple[Target, ...]]:
    """The paths of messages from each input irrep, and to each produced one."""
    produced, live = irreps_of(place.produced), irreps_of(place.live)
    number = {
        (source, target): sum(
            target in product(frozenset({source}), frozenset({harmonic})) for harmonic in harmonics(lmax)
        )
        for source in irreps_of(place.inputs[0])
        for target in produced
    }
    sources = []
    for source in sorted(irreps_of(place.inputs[0])):
        fan = [(target, number[source, target]) for target in produced]
        paths, columns = sum(n for _, n in fan), sum(n * (2 * order + 1) for (order, _), n in fan)
        sources.append((source, 2 * source[0] + 1, paths, columns, any(n and target in live for target, n in fan)))
    targets = [
        (target, 2 * target[0] + 1, tuple((source, number[source, target]) for source, *_ in sources))
        for target in sorted(produced)
    ]
    return tuple(sources), tuple(targets)


def radial_count(sizes: tuple[int, ...], weights: int, live: int, place: Place) -> Count:
    """Count a `RadialNetwork`.

    :param sizes: layer sizes without the last.
    :param weights: its outputs, the last size.
    :param live: how many of its outputs are live.
    :param place: where the part that owns it stands.
    """
    parameters = alive = edge = 0
    for number, (rows, width) in enumerate(pairwise((*sizes, weights))):
        parameters += rows * width
        edge += (place.for_feature if number else place.for_constant) * rows * width
    if live:
        alive = sum(rows * width for rows, width in pairwise((*sizes, live)))
    return Count(parameters, alive, 0, edge)
