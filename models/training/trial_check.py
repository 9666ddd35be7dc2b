"""Checks before a trial is trained: the planned numerics, data and source, and weights to train."""

from collections.abc import Mapping

from torch.nn import Module

from tesseral.models.data.published_split import hash_split
from tesseral.models.data.reference_file import Reference
from tesseral.models.networks.network import count_parameters
from tesseral.models.networks.user_network import check_source
from tesseral.models.training.numerics import NUMERICS
from tesseral.study import configuration
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import DataError, RecordError, StudyFileError


def check_trial(trial: Trial, reference: Reference, tests: Mapping[str, Reference] | None = None) -> None:
    """Check that this machine has the numerics, the data and the network source that the trial was planned with.

    :param trial: as planned.
    :param reference: the data of this machine.
    :param tests: the test sets of this machine by name; None if the trial is not tested.
    :raises RecordError: if the trial is of other numerics.
    :raises DataError: if the reference data, its published split or a test set is not the trial's.
    :raises StudyFileError: if the user's own network cannot be loaded, or has another source than the trial's.
    """
    if trial.numerics != NUMERICS:
        raise RecordError(f"expected a trial of numerics {NUMERICS}, which this version computes, got {trial.numerics}")
    if trial.data_hash != reference.content_hash:
        raise DataError(
            f"data.reference: expected the trial's data, of content {trial.data_hash[:12]}, "
            f"got {reference.content_hash[:12]}"
        )
    if trial.split is not None and hash_split(reference) != trial.split:
        raise DataError(
            f"data.split: expected the trial's published split, {trial.split[:12]}, got {hash_split(reference)[:12]}"
        )
    asked = {} if tests is None else trial.tests
    for name, known in asked.items():
        came = tests[name].content_hash if tests and name in tests else "none"
        if came != known:
            raise DataError(f"data.tests.{name}: expected the trial's data, of content {known[:12]}, got {came[:12]}")
    check_source(trial)


def check_weights(model: Module, settings: configuration.Network) -> None:
    """Check that a model has weights to train.

    :param model: as built.
    :param settings: resolved network settings, for the error.
    :raises StudyFileError: if the model has no weights.
    """
    if count_parameters(model):
        return
    if settings.define is not None:
        raise StudyFileError("network.define", "expected a network with weights to train, got one without")
    expected = "expected features that the network can make of scalars and harmonics"
    raise StudyFileError("network.hidden", f"{expected}, got {settings.hidden.irreps}")
