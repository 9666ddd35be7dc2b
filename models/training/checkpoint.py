"""Checkpoints: the state of a training as bytes. A resumed training ends bit-identical to an uninterrupted one."""

import io
import pickle
from dataclasses import dataclass
from typing import Any

import torch

from tesseral.models.data.reference_file import Reference
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.seeding import CPU
from tesseral.models.networks.user_network import check_source
from tesseral.models.targets.model import DTYPES, Model, build_model
from tesseral.models.training.optimization import Optimization
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import CheckpointError

_UNREADABLE = (
    RuntimeError,
    EOFError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    pickle.UnpicklingError,
)
"""What `torch.load` raises for bytes that are torn, altered or no checkpoint at all."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after an epoch, as far as it cannot be recomputed.

    The order of the data and the learning rate follow from the seeds and the epoch, and training draws from no
    generator that outlives an epoch; so none of these is part of the state.
    """

    trial: str
    """Trial id."""
    epoch: int
    """Epochs done."""
    seconds: float
    """Wall time of training so far, s, over all attempts."""
    metrics: dict[str, float]
    """Last values by split and metric, for the record of a training that diverges."""
    model: dict[str, Any]
    """State dict of the model: weights and output scaling."""
    optimizer: dict[str, Any] | None
    """State of the optimization; None after the last epoch, because prediction needs the weights only."""

    def to_bytes(self) -> bytes:
        """Serialise with `torch.save`: plain values and tensors only, so that reading needs no unpickling."""
        buffer = io.BytesIO()
        torch.save(vars(self), buffer)
        return buffer.getvalue()

    def restore(self, model: Model, optimization: Optimization | None = None) -> None:
        """Load the state into a model and its optimization, on their device.

        :param model: built for the same trial.
        :param optimization: of its weights.
        """
        try:
            model.load_state_dict(self.model)
            if optimization is not None and self.optimizer is not None:
                optimization.load_state_dict(self.optimizer)
        except torch.OutOfMemoryError:  # a RuntimeError too, and no fault of the checkpoint
            raise
        except _UNREADABLE as error:
            reason = f"{error}".strip().splitlines()[0]
            raise CheckpointError(f"expected a checkpoint of this network, got another: {reason}") from None


def read_checkpoint(content: bytes, trial: Trial) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are admitted (`weights_only`).

    :param content: result of `Checkpoint.to_bytes`.
    :param trial: the trial that the checkpoint must belong to.
    :raises CheckpointError: if the checkpoint cannot be read, or belongs to another trial.
    """
    try:
        checkpoint = Checkpoint(**torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except _UNREADABLE as error:
        reason = f"{error}".partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise CheckpointError(
            f"expected a checkpoint of trial {trial.id[:12]}, but it cannot be read: {reason}"
        ) from None
    if checkpoint.trial != trial.id:
        raise CheckpointError(
            f"expected a checkpoint of trial {trial.id[:12]}, got one of trial {checkpoint.trial[:12]}"
        )
    return checkpoint


def restore_model(content: bytes, trial: Trial, reference: Reference) -> Model:
    """Rebuild the trained model of a checkpoint, on the CPU and in its training precision, ready to predict.

    :param content: result of `Checkpoint.to_bytes`.
    :param trial: the trial that the checkpoint belongs to.
    :param reference: the trial's data; its elements, auxiliary basis and labels determine the model.
    :raises RecordError: as `read_checkpoint`.
    :raises StudyFileError: if the trial's network is the user's own, and cannot be loaded or has been edited since.
    """
    check_source(trial)
    configuration = trial.configuration.resolved()
    model = build_model(configuration, reference, num_neighbors=1.0, seed=0)  # the state holds the true values
    model.to(DTYPES[configuration.training.dtype])
    choose_backend(model, "auto", CPU)  # as in training: the same bits, on the same machine
    read_checkpoint(content, trial).restore(model)
    return model.eval()
