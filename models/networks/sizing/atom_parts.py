"""Parts that act on each atom by itself: one-hot, embedding, linear map, sum, residual, gate.

Each states for the module of its name what it produces, depends on and costs.
"""

from dataclasses import dataclass
from typing import ClassVar

from tesseral.models.networks.paths.selection_rules import SCALAR, Irrep, IrrepSet
from tesseral.models.networks.sizing.blueprint import Channels, Count, Features, Part, Place, Width, Widths, irreps_of

ELEMENTS: Width = ("elements", None)
EMBEDDED: Width = ("embedding", None)


def hidden(irrep: Irrep) -> Channels:
    """The hidden channels of an irrep, as many as the configuration asks for."""
    return Channels(irrep, ("hidden", irrep))


def gates(irrep: Irrep) -> Channels:
    """The 0e scalars that gate the hidden channels of an irrep, one for each."""
    return Channels(SCALAR, ("hidden", irrep))


@dataclass(frozen=True)
class OneHotPart(Part):
    """The network's input: the one-hot of an atom's element."""

    weighted: ClassVar[bool] = False

    def produces(self, *inputs: Features) -> Features:
        """One scalar for each element."""
        return frozenset({Channels(SCALAR, ELEMENTS)})

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """It has no input."""
        return ()

    def count(self, place: Place, widths: Widths) -> Count:
        """No weights."""
        return Count()


@dataclass(frozen=True)
class EmbeddingPart(Part):
    """`tesseral.models.networks.network.Embedding`: scalars learned for each element."""

    def produces(self, *inputs: Features) -> Features:
        """The embedded scalars."""
        return frozenset({Channels(SCALAR, EMBEDDED)})

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The one-hot, all of it: every column of the matrix is live if one is."""
        return inputs if wanted else (frozenset(),)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each element and scalar."""
        weights = widths[ELEMENTS] * widths[EMBEDDED]
        return Count(weights, weights if place.live else 0, place.for_constant * weights)


@dataclass(frozen=True)
class LinearPart(Part):
    """`o3.Linear` of its concatenated inputs."""

    wanted: Features

    def produces(self, *inputs: Features) -> Features:
        """The wanted irreps that enter."""
        return of(self.wanted, frozenset().union(*map(irreps_of, inputs)))

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same irreps: a linear map mixes channels only."""
        return tuple(of(features, irreps_of(wanted)) for features in inputs)

    def passes_gradient(self, produced: Features, *inputs: Features) -> tuple[bool, ...]:
        """To all inputs: they are concatenated into one tensor."""
        return (bool(produced),) * len(inputs)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each pair of channels of the same irrep."""
        produced, live = widths.muls(place.produced), widths.muls(place.live)
        parameters = alive = atom = 0
        for features in place.inputs:
            for irrep, mul in widths.muls(features).items():
                pairs = mul * produced.get(irrep, 0)
                parameters += pairs
                alive += mul * live.get(irrep, 0)
                atom += place.for_input * pairs * (2 * irrep[0] + 1)
        return Count(parameters, alive, atom)


@dataclass(frozen=True)
class SumPart(Part):
    """The sum of its inputs."""

    def produces(self, *inputs: Features) -> Features:
        """All irreps of all inputs."""
        return frozenset().union(*inputs)

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same irreps of each input."""
        return tuple(wanted & features for features in inputs)

    def count(self, place: Place, widths: Widths) -> Count:
        """No weights; additions are not counted."""
        return Count()


@dataclass(frozen=True)
class ResidualPart(Part):
    """`tesseral.models.networks.layers.layer.Residual`: a layer's output, plus its input for the irreps they share."""

    shared: IrrepSet
    """Irreps with equal multiplicities in input and output."""

    def produces(self, *inputs: Features) -> Features:
        """The layer's output."""
        return inputs[0]

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same irreps of the output, and of the input those that are added."""
        output, entering = inputs
        return wanted & output, of(entering, self.shared & irreps_of(wanted))

    def count(self, place: Place, widths: Widths) -> Count:
        """No weights; additions are not counted."""
        return Count()


@dataclass(frozen=True)
class GatePart(Part):
    """`tesseral.models.networks.layers.nonlinearity.Gate`: activated scalars, other irreps times gating scalars."""

    wanted: Features

    def produces(self, *inputs: Features) -> Features:
        """The wanted channels that enter, without the gating scalars."""
        return self.wanted & inputs[0]

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The same channels, and their gating scalars."""
        return (inputs[0] & before_gate(wanted),)

    def count(self, place: Place, widths: Widths) -> Count:
        """No weights; a matrix product spreads each gating scalar over the components that it multiplies."""
        gated = frozenset(channels for channels in place.produced if channels.irrep[0])
        copies = sum(widths.muls(gated).values())
        return Count(atom=place.for_constant * copies * widths.components(gated))


def before_gate(outputs: Features) -> Features:
    """The input of a gate: its output channels, and a gating scalar for each one of l > 0."""
    return outputs | {gates(channels.irrep) for channels in outputs if channels.irrep[0]}


def of(features: Features, kept: IrrepSet) -> Features:
    """The features whose irrep is in `kept`."""
    return frozenset(channels for channels in features if channels.irrep in kept)
