"""Pruning as records: the value at a rung by the worker, the decision to prune by the driver, then the outcome.

Each is sealed before the next step: the value before it is judged, the decision before the worker is stopped, and a
checkpoint at or beyond the rung after both. So after a kill at any moment, the trial reaches the rung again, has passed
it, or has a decision that can be carried out.
"""

from typing import Any

from tesseral.study.configuration.trial import State, canonical
from tesseral.study.records.outcome import seal_outcome
from tesseral.study.records.segments import Begin, read_begins
from tesseral.study.records.store import Json, Store, read_document

_DECISION = ("epoch", "step", "reason", "lease")


def seal_rung(store: Store, trial: str, epoch: int, value: float, **facts: Any) -> float:
    """Seal a trial's value at a rung. If an earlier attempt sealed one, that one counts.

    :param store: the study's records.
    :param trial: the trial's id.
    :param epoch: epoch of the rung.
    :param value: value of the objective.
    :param facts: further keys of the record: step, attempt, lease, and `seconds`, the wall time of training so far
        over all attempts, or None if the attempt does not know it.
    :return: the value that counts.
    """
    path = f"trials/{trial}/rungs/{epoch}.json"
    if store.create(path, canonical({"epoch": epoch, "value": value, **facts}).encode()):
        return value
    sealed = read_document(store, path, "value")
    return value if sealed is None else float(sealed["value"])


def read_rungs(store: Store, trial: str) -> dict[int, float]:
    """Return the sealed values of a trial: epoch → value.

    :param store: the study's records.
    :param trial: the trial's id.
    """
    records = [read_document(store, path, "epoch", "value") for path in store.paths(f"trials/{trial}/rungs")]
    return {int(record["epoch"]): float(record["value"]) for record in records if record is not None}


def seal_pruning(store: Store, trial: str, lease_number: int, epoch: int, step: int, reason: str) -> None:
    """Seal the driver's decision to prune a trial at a rung, before its worker is stopped.

    :param store: the study's records.
    :param trial: the trial's id.
    :param lease_number: lease of the driver.
    :param epoch: epoch of the rung.
    :param step: optimizer steps done at the rung.
    :param reason: why, in one sentence.
    """
    record = {"epoch": epoch, "step": step, "reason": reason, "lease": lease_number}
    store.create(f"trials/{trial}/decisions/{lease_number}.json", canonical(record).encode())


def read_pruning(store: Store, trial: str, lease_number: int) -> Json | None:
    """Return the decision to prune a trial, if the driver of this lease took it.

    Decisions of other drivers do not count here: a driver that was paused beyond its lease may seal one at any time.

    :param store: the study's records.
    :param trial: the trial's id.
    :param lease_number: lease of the driver.
    """
    return read_document(store, f"trials/{trial}/decisions/{lease_number}.json", *_DECISION)


def inherited_pruning(store: Store, trial: str, begins: list[Begin]) -> Json | None:
    """Return the decision of an earlier driver, unless the trial went on under a later one.

    :param store: the study's records.
    :param trial: the trial's id.
    :param begins: its attempts.
    """
    newest = max((begin.lease for begin in begins), default=0)
    for path in store.paths(f"trials/{trial}/decisions"):
        record = read_document(store, path, *_DECISION)
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
    :return: whether there is a decision that counts.
    """
    begins = read_begins(store, trial)
    decision = inherited_pruning(store, trial, begins) if adopt else read_pruning(store, trial, lease_number)
    if decision is None:
        return False
    step = int(decision["step"])
    rung = read_document(store, f"trials/{trial}/rungs/{decision['epoch']}.json") or {}
    facts = {"lease": lease_number, "steps": step, "reason": decision["reason"], "seconds": rung.get("seconds")}
    seal_outcome(store, trial, f"{begins[-1].number if begins else 0}-{step}", State.PRUNED, begins, step, **facts)
    return True
