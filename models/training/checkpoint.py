"""The state of a training as bytes: with it, a training goes on to the same last bit as one never interrupted."""

import io
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from tesseral.models.data.reference_file import Reference
from tesseral.models.networks.user_network import check_source
from tesseral.models.targets.model import DTYPES, Model, build_model
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import RecordError

_UNREADABLE = (
    RuntimeError,
    EOFError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    pickle.UnpicklingError,
)
"""What `torch.load` raises at bytes that are torn, altered or another thing altogether."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a training holds after an epoch and cannot compute again.

    The order of the data and the step size follow from the seeds and the epoch, so neither is here, nor is any
    generator: training draws from none.
    """

    trial: str
    """Trial id."""
    epoch: int
    """Epochs done."""
    seconds: float
    """Wall time of training so far, over all attempts."""
    metrics: dict[str, float]
    """Last values, for the record of a training that diverges."""
    model: dict[str, Any]
    """State of the model: weights, output scaling."""
    optimizer: dict[str, Any] | None
    """State of the optimizer; None after the last epoch, for prediction needs the weights alone."""

    def to_bytes(self) -> bytes:
        """`torch.save` of plain values and tensors."""
        buffer = io.BytesIO()
        torch.save(vars(self), buffer)
        return buffer.getvalue()

    def restore(self, model: Model, optimizer: Optimizer) -> None:
        """Put the state into a model and its optimizer, on the device where they are."""
        model.load_state_dict(self.model)
        if self.optimizer is not None:
            optimizer.load_state_dict(self.optimizer)


def read_checkpoint(content: bytes, trial: Trial) -> Checkpoint:
    """The inverse of `Checkpoint.to_bytes`; only tensors and plain values are admitted.

    :raises RecordError: if it cannot be read, or belongs to another trial.
    """
    try:
        found = Checkpoint(**torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except _UNREADABLE as error:
        reason = f"{error}".partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise RecordError(f"expected a checkpoint of trial {trial.id[:12]}, it cannot be read: {reason}") from None
    if found.trial != trial.id:
        raise RecordError(f"expected a checkpoint of trial {trial.id[:12]}, got one of trial {found.trial[:12]}")
    return found


def restore_model(content: bytes, trial: Trial, reference: Reference) -> Model:
    """The trained model of a checkpoint, on the CPU, in the precision it was trained in, ready to predict.

    :param reference: the trial's data: its elements, auxiliary basis and labels count.
    :raises RecordError: as `read_checkpoint`.
    :raises StudyFileError: if the trial's network is the user's own, and cannot be loaded or was edited since.
    """
    check_source(trial)
    configuration = trial.configuration.resolved()
    model = build_model(configuration, reference, num_neighbors=1.0, seed=0)  # the state holds the true values
    model.to(DTYPES[configuration.training.dtype])
    model.load_state_dict(read_checkpoint(content, trial).model)
    return model.eval()
