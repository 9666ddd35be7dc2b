"""A trial: one network trained once, and the identity that its content gives it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import ceil
from typing import Annotated, Any, Self

from tesseral.study.configuration.configuration import Configuration, flatten
from tesseral.study.parsing.section import Range, Section


class State(StrEnum):
    """Where a trial stands. A finished trial (complete, pruned, failed) never changes."""

    PLANNED = "planned"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """True for complete, pruned and failed."""
        return self in (State.COMPLETE, State.PRUNED, State.FAILED)


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Everything random in a trial. `split` and `order` belong to the block, `initialisation` to the replicate."""

    split: int
    order: int
    initialisation: int


@dataclass(frozen=True, kw_only=True)
class Traces(Section):
    """When hidden features are measured: before training, after each of the first `dense_epochs`, then ever more
    rarely, and at the end. Not in a trial's id, for it changes no number of the training."""

    dense_epochs: Annotated[int, Range(ge=0)] = 5
    """Epochs at the start of which each is measured: the hierarchy of features forms early."""
    growth: Annotated[float, Range(ge=1)] = 1.25
    """After those, each measurement comes at this many times the epoch of the one before, rounded up: with the defaults
    after epochs 7, 9, 12, 15, 19, 24, 30, … With 1 every epoch is measured."""
    probe: Annotated[int, Range(ge=1)] = 8
    """Structures of the training split that the features are measured on, always the same ones."""

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether the features are measured after `epoch` epochs (0 is before training)."""
        if epoch <= self.dense_epochs or epoch == epochs or self.growth == 1:
            return True
        measured = self.dense_epochs
        while measured < epoch:
            # Rounded, for 1.1 · 10 is a little more than 11.
            measured = max(measured + 1, ceil(round(self.growth * measured, 9)))
        return measured == epoch


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is trained: a resolved configuration, the content of its data, seeds and the version of the numerics.

    The id is the SHA-256 of the canonical JSON of these and the maximum steps. Name, arm, stage, storage,
    resources, device and commit are not in it, so equal work has one id wherever it is asked for.
    """

    configuration: Configuration
    data_hash: str
    seeds: Seeds
    numerics: int
    source: str | None = None
    """SHA-256 of the source of a user's own network; null for the networks of tesseral."""

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        tree = self.to_dict()
        for where in ("reference", "recipe"):  # where the data lies and comes from; `data_hash` is what it holds
            del tree["configuration"]["data"][where]
        tree["max_steps"] = self.configuration.max_steps
        return digest(tree)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values."""
        return asdict(self)

    def settings(self) -> dict[str, Any]:
        """Dotted path → value of everything in the configuration that is not null, and counts."""
        tree = self.configuration.to_dict()
        if tree["network"]["hidden"]["irreps"] is not None:  # which stand for the other keys
            tree["network"]["hidden"] = {"irreps": tree["network"]["hidden"]["irreps"]}
        return {path: value for path, value in flatten(tree).items() if value is not None}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            configuration=Configuration.from_dict(tree["configuration"]),
            data_hash=tree["data_hash"],
            seeds=Seeds(**tree["seeds"]),
            numerics=tree["numerics"],
            source=tree.get("source"),
        )


def canonical(tree: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, UTF-8 as it stands, floats as Python's shortest repr."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(tree: Any) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(tree).encode()).hexdigest()


def seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part, and on their order: the SHA-256 of their JSON."""
    return int(digest(list(parts))[:16], 16) >> 1
