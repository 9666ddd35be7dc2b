"""The frames of a file with what one or more models predict of them, batch by batch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tesseral.models.prediction.file_labels import ASE
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.reference.exchange.extended_xyz import Frame
from tesseral.models.reference.exchange.stated_source import in_angstrom, stated_charge
from tesseral.models.reference.structure import Structure
from tesseral.study.recipe.mapping import Source

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedFrame:
    """A frame and its predictions, in the units of reference data."""

    frame: Frame
    """Positions in Å."""
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
    models: Sequence[TrainedModel],
    frames: Iterable[Frame],
    source: Source = ASE.source,
    *,
    charge: int | None = None,
    batch: int = 16,
) -> Iterator[PredictedFrame]:
    """Predict the frames of a file, one batch in memory at a time.

    :param models: at least one, of one quantity.
    :param frames: as they are read.
    :param source: what a mapping states of their unit and their charges.
    :param charge: of every structure, e; None: what the source or the frame states, else 0.
    :param batch: structures of a batch.
    :raises DataError: as `TrainedModel.predict`; if a frame's charge is no whole number. It names the frame.
    """
    frames = iter(frames)
    while part := [in_angstrom(frame, source) for frame in islice(frames, batch)]:
        structures = [_structure(frame, source, charge) for frame in part]
        predictions = zip(*(model.predict(structures) for model in models), strict=True)
        for frame, structure, members in zip(part, structures, predictions, strict=True):
            yield PredictedFrame(frame, structure, members)


def _structure(frame: Frame, source: Source, charge: int | None) -> Structure:
    """The structure of a frame in Å."""
    if charge is None:
        charge = stated_charge(frame, source, "--charge states it instead") or 0
    return Structure(frame.where, frame.atomic_numbers, frame.positions, charge, cell=frame.cell)
