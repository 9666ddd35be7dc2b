"""Reuse: a trial that another study in the storage has trained already is copied instead of trained again."""

import warnings
from typing import Any

from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError, StoreError
from tesseral.study.records.document import OutcomeRecord, RungRecord, TrialRecord, read_document, seal
from tesseral.study.records.segments import altered
from tesseral.study.records.store import Store


class ReusableTrials:
    """The finished trials of the other studies in a storage, as they were when this was made.

    :param storage: the store that holds all studies.
    :param study: name of the study that reuses them, whose own trials are left out.
    """

    def __init__(self, storage: Store, study: str) -> None:
        self._finished: dict[str, list[Store]] = {}
        for name in storage.folders():
            other = storage.child(name)
            if name == study:
                continue
            try:
                paths = [] if other.read("study.toml") is None else other.paths("trials")
            except (RecordError, StoreError) as error:  # a neighbour that cannot be read stops no study
                warnings.warn(f"no trial of {name} is reused: {error}", stacklevel=2)
                continue
            for path in paths:
                if path.endswith("/outcome.json"):
                    self._finished.setdefault(path.split("/")[1], []).append(other)

    def copy(self, store: Store, trial: str, traces: dict[str, Any]) -> str | None:
        """Copy a complete trial into a study: its files and rungs first, its outcome last.

        :param store: the study's records.
        :param trial: the trial's id.
        :param traces: its trace schedule, which must be the same.
        :returns: name of the study that it was copied from; None if no study has it complete, with these traces and
            with all of its files.
        """
        copied = (_copy(other, store, trial, traces) for other in self._finished.get(trial, []))
        return next((name for name in copied if name is not None), None)


def _copy(other: Store, store: Store, trial: str, traces: dict[str, Any]) -> str | None:
    try:
        plan = read_document(other, f"trials/{trial}/trial.json", TrialRecord)
        outcome = read_document(other, f"trials/{trial}/outcome.json", OutcomeRecord)
        if plan is None or outcome is None or outcome["state"] != State.COMPLETE or plan["traces"] != traces:
            return None
        if plan["id"] != trial or outcome.get("trial", trial) != trial:
            return None
        rungs = {
            path: read_document(other, path, RungRecord, trial=trial) for path in other.paths(f"trials/{trial}/rungs")
        }
        for path in (*outcome["files"], outcome["checkpoint"]):
            data = other.read(path) if path else b""
            if data is None or (path and altered(path, data)):
                return None
            if path and not store.create(path, data):
                return None
        for path, rung in rungs.items():  # newcomers of this arm's search are compared with them
            if rung is None or not store.create(path, seal(rung)):
                return None
    except RecordError as error:  # damaged there: it is trained here
        warnings.warn(f"trial {trial[:10]} is not copied: {error}", stacklevel=3)
        return None
    name = other.url.rpartition("/")[2]
    store.create(f"trials/{trial}/outcome.json", seal(outcome | {"reused": outcome.get("reused") or name}))
    return name
