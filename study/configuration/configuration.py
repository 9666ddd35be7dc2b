"""The configuration of one trial: every setting that changes what is trained, with its default.

A study file sets each by its dotted path, such as `training.epochs`, and each may be a factor. `[network]` is declared
in `network.py`, `[target]` and `[loss]` in `target.py`, `[training]` in `training.py`. `Configuration.resolved()` gives
the canonical form that a trial's id is made from.

These are plain dataclasses, so that `models/` can train where only torch, e3nn and pyarrow are installed.
"""

import re
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from typing import Annotated, Any, Self, get_type_hints

from tesseral.study.configuration.network import Network
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.configuration.training import Training
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.section import Later, Range, Section

SPLITS = ("train", "validation", "test")
"""The splits of reference data, as a column or file of a published split and the records name them."""


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """The reference data and its splits.

    The seed of a block permutes the structures. The test split is taken first, then validation, then training: so
    training sets of different sizes are nested and share their test set.
    """

    reference: str
    """Parquet file of reference data; a relative path starts at the storage. A trial's id holds the file's content, and
    not this path."""
    recipe: str | None = None
    """Recipe that makes the reference data, relative to the study file. `tesseral plan` uses it while the data do not
    exist yet. No trial's id depends on it."""
    train: Annotated[int, Range(ge=1, le=10**9)]
    """Number of structures in the training split."""
    validation: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Number of structures in the validation split. A search needs at least 1."""
    test: Annotated[int, Range(ge=1, le=10**9)]
    """Number of structures in the test split."""
    groups: Annotated[str | None, Range(pattern=r"^(geometry|composition|label:.+)$"), Later] = None
    """Structures that one split holds together: `geometry` (the same but for a translation), `composition` (the same
    elements in the same numbers, such as the conformers of a molecule) or `label:<name>` (the same value of a label of
    imported data, such as the number of a trajectory). Default: each structure by itself."""
    split: Annotated[str | None, Later] = None
    """A published split: `column`, what the column `split` of the reference data says, or a CSV file with the columns
    `id` and `split`, relative to the storage. Either says `train`, `validation` or `test` of a structure; what it says
    nothing of is left out. Blocks then draw each split from its part, and validation from the training part if none is
    published. Default: blocks split all structures."""
    tests: Annotated[dict[str, str], Later] = field(default_factory=dict, hash=False)
    """Test sets of their own: name → Parquet file of reference data, such as `md_600K = "reference/md_600K.parquet"`.
    All of their converged structures are tested, in every block the same, and every metric is recorded for each beside
    that of the test split. `study.metric` may name one, as `md_600K.relative_error`. A trial's id holds the name and
    the file's content."""

    def resolve(self) -> Self:
        """The same data, checked.

        :raises StudyFileError: if a test set has the name of a split or none that a metric can begin with, or a split
            is published and groups are asked for.
        """
        for name in self.tests:
            if name in SPLITS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise StudyFileError(
                    f"data.tests.{name}",
                    "expected a name of letters, digits, '_' and '-', a letter or digit first, other than "
                    f"{', '.join(SPLITS)}, got {name!r}",
                )
        if self.split is not None and self.groups is not None:
            raise StudyFileError(
                "data.groups",
                f"expected none beside data.split, which says where structures belong, got {self.groups!r}",
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Configuration(Section):
    """Everything that decides what a trial trains, except the content of its data and its seeds."""

    data: Data
    """The reference data and its splits."""
    network: Network = field(default_factory=Network)
    """The network."""
    target: Target = field(default_factory=Target)
    """What the network predicts."""
    loss: Loss = field(default_factory=Loss)
    """What training minimises."""
    training: Training = field(default_factory=Training)
    """How the network is trained."""

    def resolved(self) -> Self:
        """Return the canonical form, in which two ways of asking for the same training are equal.

        :raises StudyFileError: if the hidden irreps are invalid, the loss or the orders do not fit the target, the
            training needs a validation split, or a test set has no valid name.
        """
        return replace(
            self,
            data=self.data.resolve(),
            network=self.network.resolve(),
            target=self.target.resolve(),
            loss=self.loss.resolve(self.target.quantity),
            training=self.training.resolve(self.data.train, self.data.validation),
        )

    @property
    def steps_per_epoch(self) -> int:
        """⌈train / batch_size⌉."""
        return -(-self.data.train // self.training.batch_size)

    @property
    def max_steps(self) -> int:
        """Number of optimizer steps of the whole training."""
        return self.training.epochs * self.steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries of plain values, as JSON and TOML hold them.

        A setting that was added `Later` is left out at its default, so that the ids of earlier trials stay.
        """
        return _copied(self._tree)

    @cached_property
    def _tree(self) -> dict[str, Any]:
        """What `to_dict` gives: all trials of an arm have one configuration."""
        return pruned(type(self), asdict(self))

    def settings(self) -> dict[str, Any]:
        """Return every setting that is not None, by dotted path."""
        tree = asdict(self)
        if tree["network"]["hidden"]["irreps"] is not None:  # the other keys then have no effect
            tree["network"]["hidden"] = {"irreps": tree["network"]["hidden"]["irreps"]}
        return {path: value for path, value in flatten(tree).items() if value is not None}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """Build a configuration from `to_dict`'s output. Nothing is checked: records were validated when written.

        :param tree: nested tables.
        """
        built: Self = _build(cls, tree)
        return built


def _copied(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in tree.items()}


def _build(cls: Any, tree: dict[str, Any]) -> Any:
    hints = _hints(cls)
    values = {}
    for item in fields(cls):
        if item.name in tree:
            value = tree[item.name]
            if is_dataclass(hints[item.name]):
                value = _build(hints[item.name], value)
            values[item.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def pruned(cls: Any, tree: dict[str, Any]) -> dict[str, Any]:
    """A table without the settings that were added `Later` and have their default.

    :param cls: the `Section` whose table it is.
    :param tree: plain values, one for each field.
    """
    hints = _hints(cls, extras=True)
    kept = {}
    for item in fields(cls):
        value = tree[item.name]
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if Later in getattr(hints[item.name], "__metadata__", ()) and value == default:
            continue
        kept[item.name] = pruned(hints[item.name], value) if is_dataclass(hints[item.name]) else value
    return kept


@cache
def _hints(cls: Any, *, extras: bool = False) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=extras)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted paths: `{"a": {"b": 1}}` becomes `{"a.b": 1}`.

    :param tree: nested tables.
    :param prefix: beginning of the paths, which ends in a dot; empty at the top.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
