"""A network as parts joined by features: what it makes, what its outputs depend on, and its size, by arithmetic alone.

A walk forwards says what each part makes, a walk backwards which of that an output depends on. Neither depends on how
many channels there are: these have names, and numbers enter only where a part is counted.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

from tesseral.models.networks.paths.selection_rules import Irrep, Orders

Width = tuple[str, Irrep | None]
"""Name of a number of channels, such as ("hidden", (1, -1))."""
Muls = Mapping[Irrep, int]
"""Channels of each irrep (l, p)."""


class Channels(NamedTuple):
    """Channels of one irrep, `copies` times as many as a name says."""

    irrep: Irrep
    width: Width
    copies: int = 1


Features = frozenset[Channels]
"""What a tensor of features holds; what is exactly zero is left out."""


def orders(features: Features) -> Orders:
    """The irreps of features."""
    return frozenset(channels.irrep for channels in features)


class Widths:
    """The numbers of channels by name."""

    def __init__(self, numbers: Mapping[Width, int]) -> None:
        self._numbers = numbers
        self._muls: dict[Features, Muls] = {}

    def __getitem__(self, width: Width) -> int:
        return self._numbers[width]

    def muls(self, features: Features) -> Muls:
        """Channels of each irrep of these features."""
        if features not in self._muls:
            found: dict[Irrep, int] = {}
            for irrep, width, copies in features:
                found[irrep] = found.get(irrep, 0) + copies * self._numbers[width]
            self._muls[features] = found
        return self._muls[features]

    def components(self, features: Features) -> int:
        """Σ mul·(2l+1)."""
        return sum(mul * (2 * order + 1) for (order, _), mul in self.muls(features).items())


class Count(NamedTuple):
    """What one part adds: parameters, live ones, operations for each atom, each edge, and once a step."""

    parameters: int = 0
    live: int = 0
    atom: int = 0
    edge: int = 0
    step: int = 0


class Part(ABC):
    """One module of a network, or some of what it does: a plain value, equal to any other that does the same."""

    weighted: ClassVar[bool] = True
    """Whether it has weights, so that what it makes needs a gradient whatever enters."""

    @abstractmethod
    def makes(self, *inputs: Features) -> Features:
        """What of these inputs is made."""

    @abstractmethod
    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """Of each input, what `wanted` depends on: some of what is made."""

    def passes(self, made: Features, *inputs: Features) -> tuple[bool, ...]:
        """Of each input, whether autograd passes to it from what is made: it follows tensors whole."""
        return tuple(bool(read) for read in self.reads(made, *inputs))

    @abstractmethod
    def count(self, place: "Place", widths: Widths) -> Count:
        """What it adds in a place where it makes anything."""


@dataclass(frozen=True)
class Place:
    """A part where it stands in a network."""

    part: Part
    inputs: tuple[Features, ...]
    made: Features
    live: Features
    """What an output of the network depends on."""
    constant: bool
    """Whether no input needs a gradient: the elements' one-hot, or no input at all."""
    trained: bool
    """Whether the way back from the outputs passes."""

    @cached_property
    def _hash(self) -> int:
        return hash((self.part, self.inputs, self.made, self.live, self.constant, self.trained))

    def __hash__(self) -> int:
        return self._hash

    @property
    def for_constant(self) -> int:
        """Operations of each weight times a number that needs no gradient: forward, and back to the weight."""
        return 2 * (1 + self.trained)

    @property
    def for_feature(self) -> int:
        """Operations of each weight times a feature: forward, and back to both."""
        return 2 * (1 + 2 * self.trained)

    @property
    def for_input(self) -> int:
        """Operations of each weight times an input."""
        return self.for_constant if self.constant else self.for_feature


@dataclass(frozen=True)
class Blueprint:
    """A whole network."""

    places: tuple[tuple[Place, int], ...]
    """And how often each occurs."""
    layers: tuple[tuple[Features, Features], ...]
    """Made and live features after each layer."""
    outputs: Features

    def count(self, widths: Widths) -> Count:
        """The sum over all parts."""
        found = [
            [times * value for value in place.part.count(place, widths)] for place, times in self.places if place.made
        ]
        return Count(*map(sum, zip(*found, strict=True)))


@dataclass
class Draft:
    """A blueprint in the making: each part is added after those whose features it takes, and known by its number."""

    parts: list[tuple[Part, tuple[int, ...]]] = field(default_factory=list)
    made: list[Features] = field(default_factory=list)

    def add(self, part: Part, *inputs: int) -> int:
        """Add a part, and say its number.

        :param inputs: numbers of the parts that make its inputs.
        """
        self.parts.append((part, inputs))
        self.made.append(part.makes(*(self.made[one] for one in inputs)))
        return len(self.parts) - 1

    def orders(self, number: int) -> Orders:
        """The irreps that a part makes."""
        return orders(self.made[number])

    def finish(self, layers: Sequence[int], output: int) -> Blueprint:
        """Walk backwards from the output.

        :param layers: numbers of the parts whose features are those of each layer.
        """
        live: list[Features] = [frozenset()] * len(self.parts)
        trained = [False] * len(self.parts)
        live[output], trained[output] = self.made[output], bool(self.made[output])
        for number in range(output, -1, -1):
            part, inputs = self.parts[number]
            entering = [self.made[one] for one in inputs]
            reads, passes = part.reads(live[number], *entering), part.passes(self.made[number], *entering)
            for one, read, passed in zip(inputs, reads, passes, strict=True):
                live[one] |= read
                trained[one] |= trained[number] and passed
        fixed: list[bool] = []
        for part, inputs in self.parts:
            fixed.append(not part.weighted and all(fixed[one] for one in inputs))
        places = Counter(
            Place(
                part,
                tuple(self.made[one] for one in inputs),
                self.made[number],
                live[number],
                all(fixed[one] or not self.made[one] for one in inputs),
                trained[number],
            )
            for number, (part, inputs) in enumerate(self.parts)
            if number <= output
        )
        return Blueprint(tuple(places.items()), tuple((self.made[one], live[one]) for one in layers), self.made[output])
