"""The frames of a file with what one or more models predict of them, batch by batch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.reference.exchange.extended_xyz import Frame
from tesseral.models.reference.structure import Structure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedFrame:
    """A frame and its predictions, in the units of reference data."""

    frame: Frame
    structure: Structure
    members: tuple[dict[str, Array], ...]
    """What each model predicts, as `TrainedModel.predict` names it."""

    def mean(self, name: str) -> Array:
        """The mean of the models' predictions.

        :param name: of what is predicted.
        """
        mean: Array = np.mean([member[name] for member in self.members], axis=0)
        return mean


def predict_frames(
    models: Sequence[TrainedModel], frames: Iterable[Frame], *, charge: int | None = None, batch: int = 16
) -> Iterator[PredictedFrame]:
    """Predict the frames of a file, one batch in memory at a time.

    :param models: at least one, of one quantity.
    :param frames: positions in Å.
    :param charge: of every structure, e; None: what the frame states under `charge` or a like key, else 0.
    :param batch: structures of a batch.
    :raises DataError: as `TrainedModel.predict`; if a frame's charge is no whole number. It names the frame.
    """
    frames = iter(frames)
    while part := list(islice(frames, batch)):
        structures = [structure_of(frame, charge) for frame in part]
        predictions = zip(*(model.predict(structures) for model in models), strict=True)
        for frame, structure, members in zip(part, structures, predictions, strict=True):
            yield PredictedFrame(frame, structure, members)


def structure_of(frame: Frame, charge: int | None = None) -> Structure:
    """The structure of a frame.

    :param frame: positions in Å.
    :param charge: total charge, e; None: what the frame states, else 0.
    :raises DataError: if no charge is given, and that of the frame is no whole number.
    """
    if charge is None:
        charge = frame.charge("--charge states it instead") or 0
    return Structure(frame.where, frame.atomic_numbers, frame.positions, charge, cell=frame.cell)
