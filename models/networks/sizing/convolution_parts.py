"""The parts of a convolution: the self-connection, and the messages that an atom gathers from its neighbours."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tesseral.models.networks.paths.selection_rules import Irrep, harmonics, product
from tesseral.models.networks.sizing.blueprint import Count, Features, Part, Place, Widths, orders
from tesseral.models.networks.sizing.parts import ELEMENTS, of


@dataclass(frozen=True)
class SelfConnection(Part):
    """`o3.FullyConnectedTensorProduct` with the one-hot: linear, with weights of its own for each element."""

    asked: Features

    def makes(self, *inputs: Features) -> Features:
        """What is asked of irreps that enter."""
        return of(self.asked, orders(inputs[0]))

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same irreps."""
        return (of(inputs[0], orders(wanted)),)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each pair of channels and element."""
        elements = widths[ELEMENTS]
        entering, made, live = (widths.muls(features) for features in (*place.inputs, place.made, place.live))
        parameters = alive = atom = 0
        for irrep in made:
            mul, dim = entering[irrep], 2 * irrep[0] + 1
            parameters += mul * elements * made[irrep]
            # Of a one-hot, weights of two different elements always meet a zero.
            alive += (1 if place.constant else mul) * elements * live.get(irrep, 0)
            atom += _self_connection(mul, elements, made[irrep], dim, place.for_constant, place.for_input)
        return Count(parameters, alive, atom)


def _self_connection(u: int, v: int, w: int, i: int, constant: int, entering: int) -> int:
    """Σ_uv W_uvw x_ui z_v for each w and i: operations by the order of the products that e3nn lets opt_einsum choose.

    It counts outer products, too, which are no matrix products and so not counted here; nor is a second product that
    sums over one term alone.
    """
    features_first = (2 * u * v * w * i + 2 * v * w * i, entering * u * v * w * i + (v > 1) * constant * v * w * i)
    elements_first = (2 * u * v * w + 2 * u * w * i, constant * u * v * w + (u > 1) * entering * u * w * i)
    outer_first = (u * v * i + 2 * u * v * w * i, entering * u * v * w * i)
    return min(features_first, elements_first, outer_first, key=lambda order: order[0])[1]


@dataclass(frozen=True)
class Messages(Part):
    """Of `tesseral.models.networks.layers.messages`: linear, product with the edge's harmonics, sum over neighbours,
    linear."""

    asked: Features
    lmax: int
    radial: tuple[int, ...]
    """Sizes of the radial network but the last."""

    def makes(self, *inputs: Features) -> Features:
        """What is asked that a product of an input and a harmonic holds."""
        return of(self.asked, product(orders(inputs[0]), harmonics(self.lmax)))

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """Inputs of which such a product holds something wanted."""
        (entering,) = inputs
        return (of(entering, product(orders(wanted), harmonics(self.lmax))),)

    def count(self, place: Place, widths: Widths) -> Count:
        """Weights for each path and channel are made from radial functions on every edge."""
        entering, made, live = (widths.muls(features) for features in (*place.inputs, place.made, place.live))
        sources, targets = _fans(place, self.lmax)
        parameters = alive = atom = edge = weights = live_weights = 0
        for irrep, dim, paths, columns, read in sources:  # the first linear map, and the product
            mul = entering[irrep]
            parameters += mul**2
            alive += read * mul**2
            atom += place.for_input * mul**2 * dim
            edge += 2 * (self.lmax + 1) ** 2 * dim * columns + place.for_constant * mul * columns * (dim + paths)
        for irrep, dim, fan in targets:  # the second linear map
            mul = sum(paths * entering[source] for source, paths in fan)
            weights += mul
            parameters += mul * made[irrep]
            atom += place.for_feature * mul * made[irrep] * dim
            if irrep in live:
                live_weights += mul
                alive += mul * live[irrep]
        numbers = radial_count(self.radial, weights, live_weights, place)
        return Count(parameters + numbers.parameters, alive + numbers.live, atom, edge + numbers.edge)


Source = tuple[Irrep, int, int, int, bool]
"""An input, 2l+1, its paths, their components, whether any leads to a live irrep."""
Target = tuple[Irrep, int, tuple[tuple[Irrep, int], ...]]
"""What is made, 2l+1, and how many paths lead to it from each input."""


@lru_cache(maxsize=4096)
def _fans(place: Place, lmax: int) -> tuple[tuple[Source, ...], tuple[Target, ...]]:
    """The paths of messages from each input, and to each irrep that they make."""
    made, live = orders(place.made), orders(place.live)
    number = {
        (source, target): sum(target in product(frozenset({source}), frozenset({one})) for one in harmonics(lmax))
        for source in orders(place.inputs[0])
        for target in made
    }
    sources = []
    for source in sorted(orders(place.inputs[0])):
        fan = [(target, number[source, target]) for target in made]
        paths, columns = sum(n for _, n in fan), sum(n * (2 * order + 1) for (order, _), n in fan)
        sources.append((source, 2 * source[0] + 1, paths, columns, any(n and target in live for target, n in fan)))
    targets = [
        (target, 2 * target[0] + 1, tuple((source, number[source, target]) for source, *_ in sources))
        for target in sorted(made)
    ]
    return tuple(sources), tuple(targets)


def radial_count(sizes: tuple[int, ...], weights: int, live: int, place: Place) -> Count:
    """Of a `RadialNetwork` of these sizes but the last, `weights`; `live` of its outputs are."""
    parameters = alive = edge = 0
    for number, (rows, width) in enumerate(pairwise((*sizes, weights))):
        parameters += rows * width
        edge += (place.for_feature if number else place.for_constant) * rows * width
    if live:
        alive = sum(rows * width for rows, width in pairwise((*sizes, live)))
    return Count(parameters, alive, 0, edge)
