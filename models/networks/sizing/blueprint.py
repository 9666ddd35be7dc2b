"""A network as symbolic parts joined by features: what it produces, what its outputs depend on, and its size.

A blueprint is a data-flow graph. A walk forwards says which irreps each part *produces* (what no selection rule allows
is exactly zero, and left out). A walk backwards says which of them are *live*: those that an output depends on. Neither
walk depends on multiplicities, so channels are counted by name, and numbers enter only where a part's weights and
operations are counted: one blueprint serves all widths of an architecture.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

from tesseral.models.networks.paths.selection_rules import Irrep, IrrepSet

Width = tuple[str, Irrep | None]
"""The name of a number of channels, such as ("hidden", (1, -1))."""
Muls = Mapping[Irrep, int]
"""Number of channels of each irrep."""


class Channels(NamedTuple):
    """Channels of one irrep, `copies` times the number that a width names."""

    irrep: Irrep
    width: Width
    copies: int = 1


Features = frozenset[Channels]
"""The content of a tensor of features, without what is exactly zero."""


def irreps_of(features: Features) -> IrrepSet:
    """The irreps of features."""
    return frozenset(channels.irrep for channels in features)


class Widths:
    """The number behind each width.

    :param numbers: channels by name.
    """

    def __init__(self, numbers: Mapping[Width, int]) -> None:
        self._numbers = numbers
        self._muls: dict[Features, Muls] = {}

    def __getitem__(self, width: Width) -> int:
        return self._numbers[width]

    def muls(self, features: Features) -> Muls:
        """Number of channels of each irrep; kept, because parts share their features.

        :param features: of one tensor.
        """
        if features not in self._muls:
            muls: dict[Irrep, int] = {}
            for irrep, width, copies in features:
                muls[irrep] = muls.get(irrep, 0) + copies * self._numbers[width]
            self._muls[features] = muls
        return self._muls[features]

    def components(self, features: Features) -> int:
        """Σ mul·(2l+1).

        :param features: of one tensor.
        """
        return sum(mul * (2 * order + 1) for (order, _), mul in self.muls(features).items())


class Count(NamedTuple):
    """What one part contributes to a network's size."""

    parameters: int = 0
    """Weights."""
    live: int = 0
    """Weights that a gradient can reach."""
    atom: int = 0
    """Operations for each atom, forward and backward."""
    edge: int = 0
    """Operations for each edge."""
    step: int = 0
    """Operations once a step, however many atoms there are."""


class Part(ABC):
    """One module of a network, or one of its steps. A plain value: parts that do the same are equal."""

    weighted: ClassVar[bool] = True
    """Whether it has weights: its output then requires a gradient, whatever enters."""

    @abstractmethod
    def produces(self, *inputs: Features) -> Features:
        """What it makes of its inputs.

        :param inputs: what enters, one set of channels for each input.
        """

    @abstractmethod
    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The share of each input that `wanted`, some of what is produced, depends on.

        :param wanted: channels of what is produced.
        :param inputs: what enters.
        """

    def passes_gradient(self, produced: Features, *inputs: Features) -> tuple[bool, ...]:
        """Whether autograd runs back to each input. It follows whole tensors, so this can be so for dead features.

        :param produced: what it makes of its inputs.
        :param inputs: what enters.
        """
        return tuple(bool(needed) for needed in self.depends_on(produced, *inputs))

    @abstractmethod
    def count(self, place: "Place", widths: Widths) -> Count:
        """Its weights and operations at a place where it produces anything.

        :param place: where it stands.
        :param widths: the numbers of channels.
        """


@dataclass(frozen=True)
class Place:
    """A part where it stands in a network."""

    part: Part
    inputs: tuple[Features, ...]
    produced: Features
    live: Features
    """The produced features that an output of the network depends on."""
    constant: bool
    """Whether no input requires a gradient: the elements' one-hot, or no input at all."""
    trained: bool
    """Whether the backward pass runs through it."""

    @cached_property
    def _hash(self) -> int:
        return hash((self.part, self.inputs, self.produced, self.live, self.constant, self.trained))

    # Kept: a place is a key of caches that hold a value for each architecture of a study.
    def __hash__(self) -> int:
        return self._hash

    # A product of an (m, k) by a (k, n) matrix takes 2·m·k·n operations forward, and as many again, backward, for each
    # operand that requires a gradient.

    @property
    def for_constant(self) -> int:
        """Operations of each weight times a number without gradient: forward, and backward to the weight."""
        return 2 * (1 + self.trained)

    @property
    def for_feature(self) -> int:
        """Operations of each weight times a feature: forward, and backward to both."""
        return 2 * (1 + 2 * self.trained)

    @property
    def for_input(self) -> int:
        """Operations of each weight times an input."""
        return self.for_constant if self.constant else self.for_feature


@dataclass(frozen=True)
class Blueprint:
    """A whole network."""

    places: tuple[tuple[Place, int], ...]
    """Every different place, with the number of times it occurs."""
    layers: tuple[tuple[Features, Features], ...]
    """Produced and live features after each layer."""
    outputs: Features
    """What the network produces."""

    def count(self, widths: Widths) -> Count:
        """Add up all parts.

        :param widths: the numbers of channels.
        """
        counts = [
            [times * value for value in place.part.count(place, widths)]
            for place, times in self.places
            if place.produced
        ]
        return Count(*map(sum, zip(*counts, strict=True)))


@dataclass
class Draft:
    """A blueprint under construction. Parts are added after those whose features they take, and known by number."""

    parts: list[tuple[Part, tuple[int, ...]]] = field(default_factory=list)
    """Each part, with the numbers of the parts that produce its inputs."""
    produced: list[Features] = field(default_factory=list)
    """What each part produces."""

    def add(self, part: Part, *inputs: int) -> int:
        """Add a part.

        :param part: the part.
        :param inputs: numbers of the parts that produce its inputs.
        :returns: its own number.
        """
        self.parts.append((part, inputs))
        self.produced.append(part.produces(*(self.produced[number] for number in inputs)))
        return len(self.parts) - 1

    def irreps(self, number: int) -> IrrepSet:
        """The irreps that a part produces."""
        return irreps_of(self.produced[number])

    def finish(self, layers: Sequence[int], output: int) -> Blueprint:
        """Walk backwards from the output and place every part.

        :param layers: numbers of the parts that produce the features after each layer.
        :param output: number of the part that produces the outputs.
        """
        live: list[Features] = [frozenset()] * len(self.parts)
        trained = [False] * len(self.parts)
        live[output], trained[output] = self.produced[output], bool(self.produced[output])
        # A part's inputs have lower numbers, so each part is met after all parts that read it. `live` follows single
        # irreps, `trained` whole tensors as autograd does: the backward pass computes gradients of dead features too.
        for number in range(output, -1, -1):
            part, inputs = self.parts[number]
            entering = [self.produced[source] for source in inputs]
            needed = part.depends_on(live[number], *entering)
            passes = part.passes_gradient(self.produced[number], *entering)
            for source, features, passed in zip(inputs, needed, passes, strict=True):
                live[source] |= features
                trained[source] |= trained[number] and passed
        fixed: list[bool] = []  # whether a part's output requires no gradient
        for part, inputs in self.parts:
            fixed.append(not part.weighted and all(fixed[source] for source in inputs))
        places = Counter(
            Place(
                part,
                tuple(self.produced[source] for source in inputs),
                self.produced[number],
                live[number],
                all(fixed[source] or not self.produced[source] for source in inputs),
                trained[number],
            )
            for number, (part, inputs) in enumerate(self.parts)
            if number <= output
        )
        return Blueprint(
            tuple(places.items()),
            tuple((self.produced[layer], live[layer]) for layer in layers),
            self.produced[output],
        )
