"""Pruning as records: the value at a rung by the worker, the decision to prune by the driver, then the outcome.

Each is sealed before the next step: the value before it is judged, the decision before the worker is stopped, and a
checkpoint at or beyond the rung after both. So after a kill at any moment, the trial reaches the rung again, has passed
it, or has a decision that can be carried out.
"""

import warnings
from collections.abc import Iterable
from typing import Any

from tesseral.study.configuration.trial import State
from tesseral.study.errors import MissingRowsError, RecordError
from tesseral.study.records.document import DecisionRecord, Json, RungRecord, damaged, read_document, seal
from tesseral.study.records.outcome import seal_outcome
from tesseral.study.records.segments import Begin, read_begins
from tesseral.study.records.store import Store


def seal_rung(store: Store, trial: str, epoch: int, value: float, **facts: Any) -> float:
    """Seal a trial's value at a rung. If an earlier attempt sealed one, that one counts.

    :param store: the study's records.
    :param trial: the trial's id.
    :param epoch: epoch of the rung.
    :param value: value of the objective.
    :param facts: further keys of the record: step, attempt, lease, and `seconds`, the wall time of training so far
        over all attempts, or None if the attempt does not know it.
    :returns: the value that counts.
    """
    path = f"trials/{trial}/rungs/{epoch}.json"
    if store.create(path, seal({"trial": trial, "epoch": epoch, "value": value, **facts})):
        return value
    sealed = _read(store, trial, epoch)
    if sealed is None:
        raise damaged(store, path, "it was removed as it was read")
    return float(sealed["value"])


def _read(store: Store, trial: str, epoch: int) -> Json | None:
    return read_document(store, f"trials/{trial}/rungs/{epoch}.json", RungRecord, trial=trial, epoch=epoch)


def read_rungs(store: Store, trial: str) -> dict[int, float]:
    """Return the sealed values of a trial: epoch → value."""
    values = {}
    for path in store.paths(f"trials/{trial}/rungs"):
        name = path.rpartition("/")[2].removesuffix(".json")
        if name.isdecimal() and (record := _read(store, trial, int(name))) is not None:
            values[int(name)] = float(record["value"])
    return values


def check_rungs(store: Store, trial: str, passed: Iterable[int]) -> None:
    """Check that a trial has the value of every rung that it passed. Without one, others would be judged differently.

    :param passed: epochs of the rungs.
    :raises RecordError: if one is missing.
    """
    sealed = read_rungs(store, trial) if (passed := list(passed)) else {}
    for epoch in passed:
        if epoch not in sealed:
            raise RecordError(
                f"{store.location(f'trials/{trial}/rungs/{epoch}.json')} is missing, although the trial went on beyond "
                f"it; restore it, or remove the folder {store.location(f'trials/{trial}')} and run the study again"
            )


def seal_pruning(store: Store, trial: str, lease_number: int, epoch: int, step: int, reason: str) -> None:
    """Seal the driver's decision to prune a trial at a rung, before its worker is stopped.

    :param store: the study's records.
    :param trial: the trial's id.
    :param lease_number: lease of the driver.
    :param epoch: epoch of the rung.
    :param step: optimizer steps done at the rung.
    :param reason: why, in one sentence.
    """
    record = {"trial": trial, "epoch": epoch, "step": step, "reason": reason, "lease": lease_number}
    store.create(f"trials/{trial}/decisions/{lease_number}.json", seal(record))


def read_pruning(store: Store, trial: str, lease_number: int) -> Json | None:
    """Return the decision to prune a trial, if the driver of this lease took it.

    Decisions of other drivers do not count here: a driver that was paused beyond its lease may seal one at any time.

    :param store: the study's records.
    :param trial: the trial's id.
    :param lease_number: lease of the driver.
    """
    path = f"trials/{trial}/decisions/{lease_number}.json"
    return read_document(store, path, DecisionRecord, trial=trial, lease=lease_number)


def inherited_pruning(store: Store, trial: str, begins: list[Begin]) -> Json | None:
    """Return the decision of an earlier driver, unless the trial went on under a later one.

    :param store: the study's records.
    :param trial: the trial's id.
    :param begins: its attempts.
    """
    newest = max((begin.lease for begin in begins), default=0)
    for path in store.paths(f"trials/{trial}/decisions"):
        record = read_document(store, path, DecisionRecord, trial=trial)
        if record is not None and record["lease"] >= newest:
            return record
    return None


def prune(store: Store, trial: str, lease_number: int, *, adopt: bool = False) -> bool:
    """Seal the outcome of a trial that is to be pruned and whose worker has stopped.

    Its wall time is that at the rung: what was trained until the worker stopped does not count.

    :param store: the study's records.
    :param trial: the trial's id.
    :param lease_number: lease of the driver.
    :param adopt: whether decisions of earlier drivers count: only at a driver's start.
    :returns: whether there is a decision that counts.
    """
    begins = read_begins(store, trial)
    decision = inherited_pruning(store, trial, begins) if adopt else read_pruning(store, trial, lease_number)
    if decision is None:
        return False
    step = int(decision["step"])
    check_rungs(store, trial, [decision["epoch"]])
    rung = _read(store, trial, int(decision["epoch"])) or {}
    facts = {"lease": lease_number, "steps": step, "reason": decision["reason"], "seconds": rung.get("seconds")}
    # The latest attempt may have been stopped below the rung; then the one that sealed the value has the rows up to it.
    for counted in (begins, [begin for begin in begins if begin.number <= rung["attempt"]]):
        try:
            seal_outcome(store, trial, counted[-1].number if counted else 0, State.PRUNED, counted, step, **facts)
        except MissingRowsError as error:
            lost = error
        else:
            return True
    warnings.warn(f"{lost}; the trial is trained again", stacklevel=2)
    return False
