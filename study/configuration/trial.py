"""A trial is one network trained once. Its id is a hash of everything that decides the result."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from math import ceil
from typing import Annotated, Any, Self

from tesseral.study.configuration.configuration import Configuration, pruned
from tesseral.study.parsing.section import Later, Range, Section


class State(StrEnum):
    """State of a trial. A finished trial (complete, pruned or failed) never changes; a failed one can be retried."""

    PLANNED = "planned"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """True for complete, pruned and failed."""
        return self in (State.COMPLETE, State.PRUNED, State.FAILED)


class Cause(StrEnum):
    """Why a trial failed. `memory` and `machine` are not the trial's own fault, and may be gone the next time."""

    TRAINING = "training"
    """The loss or a metric became infinite or not a number."""
    MEMORY = "memory"
    """The memory of the machine or its accelerator was too small."""
    MACHINE = "machine"
    """Its worker was lost again and again, or the operating system reported an error."""
    CODE = "code"
    """Any other exception."""
    REFUSED = "refused"
    """The search proposed settings whose network is not trained."""


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """Structures that no search of a study sees, and that every test split of it is drawn from."""

    seed: int
    """By which they are drawn, once a study."""
    size: int
    """Number of structures; more, if it ends inside a group."""
    seen: bool
    """Whether the trial may be trained on those that it is not tested on: those of the confirm stage are, a search
    never."""


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Seeds of a trial. `split` and `order` belong to its block, `initialisation` to its replicate."""

    split: int
    order: int
    initialisation: int
    fold: int | None = None
    """Which of the disjoint folds of the data the test split is; None for a random test split."""
    holdout: HoldOut | None = None
    """What is kept from every search; None in a study without one, and in those of a time without hold-outs."""


@dataclass(frozen=True, kw_only=True)
class Traces(Section):
    """When the hidden features of a network are measured during training.

    They are measured before training, after each of the first `dense_epochs` epochs, then at growing intervals, and at
    the end. The schedule is in no trial's id, because it does not change the training.
    """

    dense_epochs: Annotated[int, Range(ge=0)] = 5
    """Number of first epochs after each of which features are measured. The hierarchy of features forms early."""
    growth: Annotated[float, Range(ge=1)] = 1.25
    """Ratio of the epochs of successive later measurements, rounded up: with the defaults, features are measured after
    epochs 7, 9, 12, 15, 19, 24, 30, … With 1, they are measured after every epoch."""
    probe: Annotated[int, Range(ge=1)] = 8
    """Number of training structures on which features are measured; always the same ones."""
    densities: Annotated[int, Range(ge=0), Later] = 0
    """Number of validation structures on which the density metrics that need a grid, such as ε, are measured whenever
    features are. With 0, they are measured at the end alone: one structure takes 0.2 to 1 s."""

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as records hold it."""
        return pruned(Traces, asdict(self))

    def due(self, epoch: int, epochs: int) -> bool:
        """Return whether features are measured after `epoch` of `epochs` epochs; 0 is before training.

        :param epoch: epochs that are done.
        :param epochs: of the whole training.
        """
        if epoch <= self.dense_epochs or epoch == epochs or self.growth == 1:
            return True
        measured = self.dense_epochs
        while measured < epoch:
            # Rounding first: in floating point, 1.1 · 10 is slightly more than 11.
            measured = max(measured + 1, ceil(round(self.growth * measured, 9)))
        return measured == epoch


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Everything that decides the result of one training.

    The id is the SHA-256 of the canonical JSON of these fields and the number of steps. The study, arm, stage,
    storage, resources, device and code commit are not in it: equal work has one id wherever it is asked for.
    """

    configuration: Configuration
    """Resolved."""
    data_hash: str
    """Hash of the content of the reference data."""
    seeds: Seeds
    numerics: int
    """Version of the numerics: raised when the same trial would give other numbers."""
    source: str | None = None
    """SHA-256 of the source of a user's own network; None for the networks of tesseral."""
    tests: dict[str, str] = field(default_factory=dict, hash=False)
    """Name of each test set → hash of the content of its data."""
    split: str | None = None
    """Hash of a published split; None without one."""

    @cached_property
    def id(self) -> str:
        """The trial's id: 64 hexadecimal digits."""
        tree = self.to_dict()
        for where in ("reference", "recipe", "tests", "split"):  # where the data are; hashes say what they are
            tree["configuration"]["data"].pop(where, None)
        tree["max_steps"] = self.configuration.max_steps
        return digest(tree)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries of plain values, without what came later and is not asked for: `seeds.fold`,
        `seeds.holdout`, `tests` and `split`."""
        tree = {item.name: getattr(self, item.name) for item in fields(self)}
        later = ("fold", "holdout")
        seeds = {name: seed for name, seed in vars(self.seeds).items() if name not in later or seed is not None}
        if self.seeds.holdout is not None:
            seeds["holdout"] = asdict(self.seeds.holdout)
        tree |= {"configuration": self.configuration.to_dict(), "seeds": seeds, "tests": dict(self.tests)}
        return {key: value for key, value in tree.items() if value or key not in ("tests", "split")}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """Build a trial from `to_dict`'s output.

        :param tree: as `trial` in `trial.json`.
        """
        holdout = tree["seeds"].get("holdout")
        return cls(
            configuration=Configuration.from_dict(tree["configuration"]),
            data_hash=tree["data_hash"],
            seeds=Seeds(**tree["seeds"] | ({"holdout": HoldOut(**holdout)} if holdout else {})),
            numerics=tree["numerics"],
            source=tree.get("source"),
            tests=tree.get("tests", {}),
            split=tree.get("split"),
        )


def canonical(tree: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, unescaped UTF-8, floats as Python's shortest repr.

    :param tree: plain values; finite numbers.
    """
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(tree: Any) -> str:
    """Return the SHA-256 of the canonical JSON, as hexadecimal digits.

    :param tree: plain values; finite numbers.
    """
    return hashlib.sha256(canonical(tree).encode()).hexdigest()


def seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on their order: the start of the SHA-256 of their JSON."""
    return int(digest(list(parts))[:16], 16) >> 1
