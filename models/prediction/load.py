"""Loading what a trial trained from the records of its study."""

from pathlib import Path

from tesseral.models.data.references import open_data
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.device import find_device
from tesseral.models.training.trial_check import check_trial
from tesseral.study.parsing.user_function import make_importable
from tesseral.study.records.ledger import Entry
from tesseral.study.records.store import Store
from tesseral.study.records.trained import find_trial, read_weights


def load(storage: str | Path, study: str, trial: str, *, device: str = "cpu", folder: str | Path = "") -> TrainedModel:
    """The model that a complete trial trained.

    >>> model = load("runs", "acac", "3f2a91")  # doctest: +SKIP
    >>> model.predict([Structure("water", (8, 1, 1), positions)])  # doctest: +SKIP

    Only tensors and plain values are read from a checkpoint (`weights_only`).

    :param storage: local folder or URL of an object store.
    :param study: name of the study in the storage.
    :param trial: the trial's id or its first digits.
    :param device: `auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:N`.
    :param folder: of the user's own modules, where the trial has a network of the user's own.
    :raises RecordError: if no complete trial of the study has that id, or its weights are missing or altered.
    :raises DataError: if the trial's reference data are missing or differ.
    :raises StudyFileError: if no study of that name was started in the storage; if the network is the user's own, and
        cannot be loaded or was edited.
    :raises TesseralError: if there is no such device.
    """
    return load_entry(str(storage), study, find_trial(storage, study, trial), device=device, folder=folder)


def load_entry(storage: str, study: str, entry: Entry, *, device: str, folder: str | Path) -> TrainedModel:
    """The model of the records of one trial; all else as `load`.

    :param storage: local folder or URL of an object store.
    :param study: name of the study in the storage.
    :param entry: the trial's records.
    :param device: as `load`.
    :param folder: as `load`.
    """
    where = find_device(device)
    trial = entry.trial
    reference = open_data(storage, trial.configuration.data)
    content = read_weights(Store(storage).child(study), entry)
    make_importable(folder)
    check_trial(trial, reference)
    metrics = (entry.outcome or {}).get("metrics", {})
    return TrainedModel(restore_model(content, trial, reference), trial, reference, study, metrics).to(where)
