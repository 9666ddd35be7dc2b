"""The parts that only one atom's features enter: what each makes, reads and costs, as the modules of these names do."""

from dataclasses import dataclass
from typing import ClassVar

from tesseral.models.networks.paths.selection_rules import SCALAR, Irrep, Orders
from tesseral.models.networks.sizing.blueprint import Channels, Count, Features, Part, Place, Width, Widths, orders

ELEMENTS: Width = ("elements", None)
EMBEDDED: Width = ("embedding", None)


def hidden(irrep: Irrep) -> Channels:
    """The hidden features of an irrep, as many as the configuration says."""
    return Channels(irrep, ("hidden", irrep))


def gates(irrep: Irrep) -> Channels:
    """The scalars that gate them."""
    return Channels(SCALAR, ("hidden", irrep))


@dataclass(frozen=True)
class OneHot(Part):
    """What enters the network: which element an atom is."""

    weighted: ClassVar[bool] = False

    def makes(self, *inputs: Features) -> Features:
        """One scalar for each element."""
        return frozenset({Channels(SCALAR, ELEMENTS)})

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """Nothing enters."""
        return ()

    def count(self, place: Place, widths: Widths) -> Count:
        """Nothing."""
        return Count()


@dataclass(frozen=True)
class Embedding(Part):
    """Of `tesseral.models.networks.network`: scalars learned for each element."""

    def makes(self, *inputs: Features) -> Features:
        """Scalars."""
        return frozenset({Channels(SCALAR, EMBEDDED)})

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The one-hot, whose weights are all live if any is."""
        return inputs if wanted else (frozenset(),)

    def count(self, place: Place, widths: Widths) -> Count:
        """A matrix."""
        weights = widths[ELEMENTS] * widths[EMBEDDED]
        return Count(weights, weights if place.live else 0, place.for_constant * weights)


@dataclass(frozen=True)
class Linear(Part):
    """`o3.Linear` of its inputs side by side."""

    asked: Features

    def makes(self, *inputs: Features) -> Features:
        """What is asked of irreps that enter."""
        return of(self.asked, frozenset().union(*map(orders, inputs)))

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same irreps."""
        return tuple(of(features, orders(wanted)) for features in inputs)

    def passes(self, made: Features, *inputs: Features) -> tuple[bool, ...]:
        """To all inputs, for they are one tensor."""
        return (bool(made),) * len(inputs)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each pair of channels of the same irrep."""
        made, live = widths.muls(place.made), widths.muls(place.live)
        parameters = alive = atom = 0
        for features in place.inputs:
            for irrep, mul in widths.muls(features).items():
                pairs = mul * made.get(irrep, 0)
                parameters += pairs
                alive += mul * live.get(irrep, 0)
                atom += place.for_input * pairs * (2 * irrep[0] + 1)
        return Count(parameters, alive, atom)


@dataclass(frozen=True)
class Sum(Part):
    """Features added up."""

    def makes(self, *inputs: Features) -> Features:
        """All that enters."""
        return frozenset().union(*inputs)

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same."""
        return tuple(wanted & features for features in inputs)

    def count(self, place: Place, widths: Widths) -> Count:
        """Nothing: elementwise."""
        return Count()


@dataclass(frozen=True)
class Residual(Part):
    """Of `tesseral.models.networks.layers.layer`: what a layer makes, and what enters it, added up where alike."""

    shared: Orders
    """Irreps of which as many enter as are made."""

    def makes(self, *inputs: Features) -> Features:
        """What the layer makes."""
        return inputs[0]

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same, and of the input the irreps that are added."""
        made, entering = inputs
        return wanted & made, of(entering, self.shared & orders(wanted))

    def count(self, place: Place, widths: Widths) -> Count:
        """Nothing: elementwise."""
        return Count()


@dataclass(frozen=True)
class Gate(Part):
    """Of `tesseral.models.networks.layers.gate`: scalars pass, the others are multiplied by scalars made for them."""

    asked: Features

    def makes(self, *inputs: Features) -> Features:
        """What is asked that enters, of itself and not for a gate."""
        return self.asked & inputs[0]

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same, and the gates."""
        return (inputs[0] & before_gate(wanted),)

    def count(self, place: Place, widths: Widths) -> Count:
        """Each gate is spread over the components that it multiplies."""
        gated = frozenset(channels for channels in place.made if channels.irrep[0])
        copies = sum(widths.muls(gated).values())
        return Count(atom=place.for_constant * copies * widths.components(gated))


def before_gate(outputs: Features) -> Features:
    """What a gate takes: hidden features, and 0e to multiply those of l > 0."""
    return outputs | {gates(channels.irrep) for channels in outputs if channels.irrep[0]}


def of(features: Features, kept: Orders) -> Features:
    """Those of the irreps kept."""
    return frozenset(channels for channels in features if channels.irrep in kept)
