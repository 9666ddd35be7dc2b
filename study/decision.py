"""Early stopping as records: a rung's value by the worker, then the driver's decision, then the outcome.

Each is sealed before the next step is taken: the value before it is judged, the decision before the worker is
stopped, so that a kill at any moment leaves a trial that can be judged again or a decision that can be carried out.
"""

from tesseral.study.document import Json, read_document
from tesseral.study.outcome import seal_outcome
from tesseral.study.segments import Begin, read_begins
from tesseral.study.store import Store
from tesseral.study.trial import State, canonical


def read_rungs(store: Store, trial: str) -> dict[int, float]:
    """The sealed values of a trial: epoch → value."""
    records = [read_document(store, path, "epoch", "value") for path in store.paths(f"trials/{trial}/rungs")]
    return {int(record["epoch"]): float(record["value"]) for record in records if record is not None}


def decide(store: Store, trial: str, lease_number: int, epoch: int, step: int, reason: str) -> None:
    """Seal the driver's decision to stop a trial at a rung, before its worker is stopped."""
    record = {"epoch": epoch, "step": step, "reason": reason, "lease": lease_number}
    store.create(f"trials/{trial}/decisions/{lease_number}.json", canonical(record).encode())


def decided(store: Store, trial: str, begins: list[Begin]) -> Json | None:
    """The decision to stop a trial, if one counts: none of a driver under whose successor the trial went on."""
    newest = max((begin.lease for begin in begins), default=0)
    for path in store.paths(f"trials/{trial}/decisions"):
        record = read_document(store, path, "epoch", "step", "reason", "lease")
        if record is not None and record["lease"] >= newest:
            return record
    return None


def prune(store: Store, trial: str, lease_number: int) -> bool:
    """Seal the outcome of a trial that was told to stop, its worker stopped. True if a decision counts."""
    begins = read_begins(store, trial)
    decision = decided(store, trial, begins)
    if decision is None:
        return False
    step = int(decision["step"])
    facts = {"lease": lease_number, "steps": step, "reason": decision["reason"]}
    seal_outcome(store, trial, f"{begins[-1].number if begins else 0}-{step}", State.PRUNED, begins, step, **facts)
    return True
