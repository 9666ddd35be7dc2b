"""`[training]`: how a network is trained."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.section import Later, Range, Section

_Decay = Annotated[float, Range(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Training(Section):
    """How a network is trained.

    Its *validation error* is the first metric of the target that is measured in every epoch, on the validation split.
    """

    epochs: Annotated[int, Range(ge=1, le=10**6)] = 60
    """Passes over the training split."""
    steps: Annotated[int | None, Range(ge=1, le=10**9), Later] = None
    """Optimizer steps, rounded up to whole epochs, in place of `epochs`: arms with training sets of different sizes
    then take equally many steps."""
    batch_size: Annotated[int, Range(ge=1, le=10**6)] = 4
    """Structures in a training step. The last step of an epoch takes those that are left."""
    learning_rate: Annotated[float, Range(gt=0)] = 1e-2
    """Learning rate at the start, or after the warm-up."""
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    """`cosine`: the learning rate decays to zero over the whole training. `constant`: it stays. `plateau`: it is
    multiplied by `plateau_factor` whenever the validation error has not fallen for more than `plateau_patience`
    epochs."""
    plateau_patience: Annotated[int, Range(ge=0, le=10**6), Later] = 10
    """Epochs; see `schedule`."""
    plateau_factor: Annotated[float, Range(gt=0, lt=1), Later] = 0.5
    """See `schedule`."""
    warmup_epochs: Annotated[int, Range(ge=0, le=10**6), Later] = 0
    """First epochs, over whose steps the learning rate grows linearly from zero. A cosine starts after them."""
    optimizer: Annotated[Literal["adam", "adamw"], Later] = "adam"
    """Adam (Kingma and Ba, arXiv 1412.6980), or Adam with decoupled weight decay (Loshchilov and Hutter, arXiv
    1711.05101)."""
    weight_decay: Annotated[float, Range(ge=0), Later] = 0.0
    """Of `adamw`: a step shrinks each weight by this times the learning rate."""
    betas: Annotated[tuple[Annotated[float, Range(ge=0, lt=1)], Annotated[float, Range(ge=0, lt=1)]], Later] = (
        0.9,
        0.999,
    )
    """Decay of Adam's averages of the gradient and of its square, per step."""
    clip: Annotated[float | None, Range(gt=0), Later] = None
    """Largest norm of the gradient of all weights together; a longer one is scaled down to it. Default: any."""
    ema: Annotated[float, Range(ge=0, lt=1), Later] = 0.0
    """Decay per step of an exponential moving average of the weights, such as 0.999. The averaged weights are
    evaluated, kept and used for predictions; 0 is without average."""
    patience: Annotated[int | None, Range(ge=1, le=10**6), Later] = None
    """Epochs without a lower validation error after which training ends (early stopping). Default: none end it."""
    keep: Annotated[Literal["last", "best"], Later] = "last"
    """Weights that are tested and kept, and that a search chooses by: those of the `last` epoch, or of the epoch with
    the `best` validation error."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point precision of weights and features."""

    @property
    def validates(self) -> str | None:
        """The setting that needs a validation split; None if none does."""
        needs = {
            "schedule": self.schedule == "plateau",
            "patience": self.patience is not None,
            "keep": self.keep == "best",
        }
        return next((name for name, needed in needs.items() if needed), None)

    def resolve(self, train: int, validation: int) -> Self:
        """The canonical form: steps as epochs, and settings without effect at their defaults.

        :param train: structures in the training split.
        :param validation: structures in the validation split.
        :raises StudyFileError: if a setting needs a validation split, another optimizer or more epochs.
        """
        if self.validates and not validation:
            name = f"training.{self.validates}"
            raise StudyFileError(name, f"expected data.validation of at least 1 with {name}, got 0")
        if self.weight_decay and self.optimizer != "adamw":
            raise StudyFileError(
                "training.weight_decay", f'expected 0 but with training.optimizer = "adamw", got {self.weight_decay}'
            )
        resolved = self
        if self.steps is not None:
            resolved = replace(resolved, epochs=-(-self.steps // -(-train // self.batch_size)), steps=None)
        if self.schedule != "plateau":
            patience, factor = Training.plateau_patience, Training.plateau_factor
            resolved = replace(resolved, plateau_patience=patience, plateau_factor=factor)
        if resolved.warmup_epochs > resolved.epochs:
            raise StudyFileError(
                "training.warmup_epochs",
                f"expected at most the {resolved.epochs} epochs of the training, got {resolved.warmup_epochs}",
            )
        return resolved
