"""The configuration of one trial: every setting that changes what is trained, with its default.

Plain dataclasses, so that `models/` can train where only torch, e3nn and pyarrow are installed; `[network]` stands in
`tesseral.study.configuration.network`, `[target]` and `[loss]` in `tesseral.study.configuration.target`. A study file
sets any of these by its dotted path (`training.epochs`), and any of them may be a factor. `resolved()` fills in what is
derived, and is what a trial's id is made of.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Self, get_type_hints

from tesseral.study.configuration.network import Network
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.parsing.section import Range, Section


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """What is trained on. A block's seed permutes the structures; test comes first, then validation, then
    training, so training sets of different sizes are nested and share their test set."""

    reference: str
    """Parquet file of reference data; relative paths start at the storage. Not in the id: its content is."""
    recipe: str | None = None
    """Recipe that makes the reference data, relative to the study file: `plan` reads sizes from it where the data is
    not there yet. Not in the id."""
    train: Annotated[int, Range(ge=1, le=10**9)]
    """Structures trained on."""
    validation: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Structures of the validation split."""
    test: Annotated[int, Range(ge=1, le=10**9)]
    """Structures of the test split."""


@dataclass(frozen=True, kw_only=True)
class Training(Section):
    """How it is trained."""

    epochs: Annotated[int, Range(ge=1, le=10**6)] = 60
    """Passes over the training split."""
    batch_size: Annotated[int, Range(ge=1, le=10**6)] = 4
    """Structures in a step; the last step of an epoch takes what is left."""
    learning_rate: Annotated[float, Range(gt=0)] = 1e-2
    """Adam's step size at the start."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` decays the step size to zero over all steps."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights and features."""


@dataclass(frozen=True, kw_only=True)
class Configuration(Section):
    """Everything that decides what a trial trains, but its data's content and its seeds."""

    data: Data
    network: Network = field(default_factory=Network)
    target: Target = field(default_factory=Target)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)

    def resolved(self) -> Self:
        """With hidden irreps as canonical text and the loss by name: two ways of asking for one training become equal.

        :raises StudyFileError: if the hidden irreps are not valid, or the loss or the orders do not fit the target.
        """
        return replace(
            self,
            network=self.network.resolve(),
            target=self.target.resolve(),
            loss=self.loss.resolve(self.target.quantity),
        )

    @property
    def steps_per_epoch(self) -> int:
        """⌈train / batch_size⌉."""
        return -(-self.data.train // self.training.batch_size)

    @property
    def max_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.training.epochs * self.steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as JSON and TOML hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; for records, which were validated when written."""
        built: Self = _build(cls, tree)
        return built


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


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted paths to leaves: {'a': {'b': 1}} becomes {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
