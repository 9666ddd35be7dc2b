"""Retry: a failed trial becomes due again, and its outcome is kept as that of its last attempt.

The outcome is copied to `attempts/<n>.failed.json`, where n is the trial's last attempt, and read back. Only then is
`outcome.json` removed. After a kill in between the trial is still failed, and the same call goes on. The copy is also
what makes the failed attempts count no more: the next one begins at step 0 and trains every row anew.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tesseral.study.configuration.trial import Cause, State, digest
from tesseral.study.design.stages import Best, search_folder
from tesseral.study.errors import StoreError, TesseralError
from tesseral.study.records.counted import counted
from tesseral.study.records.document import OutcomeRecord, damaged, read_document
from tesseral.study.records.lease import LENGTH, Holder, Lease
from tesseral.study.records.ledger import Entry, Ledger
from tesseral.study.records.segments import attempt_numbers, failed_attempts
from tesseral.study.records.store import Store
from tesseral.study.wording import listed, listed_labels


@dataclass(frozen=True)
class FailedTrial:
    """A failed trial."""

    trial: str
    """Its id."""
    arm: str
    cause: Cause | None
    """None if an earlier version recorded it."""
    reason: str
    kept: str = ""
    """Where its outcome is kept; empty if the trial was not retried."""


@dataclass(frozen=True)
class Retried:
    """What a retry did."""

    trials: tuple[FailedTrial, ...]
    """Trials that are due again."""
    refused: tuple[FailedTrial, ...] = ()
    """Failed trials that are not: their network would be refused again."""
    chosen: tuple[str, ...] = ()
    """Arms of retried trials whose search has chosen its setting already. It stays."""


def retry(
    store: Store,
    trials: Sequence[str] = (),
    arm: str | None = None,
    causes: Collection[str] = (),
    *,
    lease: float = LENGTH,
    on_wait: Callable[[Holder, float], None] = lambda holder, seconds: None,
) -> Retried:
    """Make failed trials due again. The next run trains them from step 0, as trials that never ran.

    Those of arms that were dropped stay failed, since no run would train them.

    :param store: the study's records.
    :param trials: ids of failed trials, or their beginnings; none takes all of them.
    :param arm: label of the arm whose trials are taken; None takes those of all arms.
    :param causes: causes of the trials that are taken; none takes all of them.
    :param lease: length of the lease that is held meanwhile, s.
    :param on_wait: as in `Lease.acquire`.
    :raises TesseralError: if there is no such trial or arm, or a named trial has not failed or was refused.
    :raises RecordError: if a record is damaged.
    :raises LeaseHeldError: if a driver runs the study.
    """
    ledger = Ledger(store, strict=True)
    above = max((begin["lease"] for entry in ledger.entries() for begin in entry.begins), default=0)
    with Lease.acquire(store, lease, above=above, on_wait=on_wait) as held:
        entries = counted(store, Ledger(store, strict=True).entries())
        failed, refused, chosen = [], [], []
        for entry in _chosen(entries, trials, arm, causes):
            found = _failed(entry)
            if found.cause is Cause.REFUSED:
                if trials:
                    raise TesseralError(
                        f"trial {entry.id[:10]} was refused ({found.reason}), and would be again; trials that failed "
                        "otherwise can be retried"
                    )
                refused.append(found)
            else:
                failed.append((entry, found))
        done = []
        for entry, found in failed:
            held.check()
            if entry.plan["stage"] == "search" and _reopen(store, entry):
                chosen.append(found.arm)
            done.append(FailedTrial(found.trial, found.arm, found.cause, found.reason, _set_aside(store, entry.id)))
        return Retried(tuple(done), tuple(refused), tuple(dict.fromkeys(chosen)))


def _chosen(entries: list[Entry], trials: Sequence[str], arm: str | None, causes: Collection[str]) -> list[Entry]:
    """The failed trials that are meant."""
    arms = sorted({plan["arm"] for entry in entries for plan in entry.plans})
    if arm is not None and arm not in arms:
        raise TesseralError(f"expected an arm with trials, got {arm!r}; there are: {listed_labels(arms) or 'none'}")
    named = {entry.id for start in trials for entry in [_named(entries, start)]}
    return [
        entry
        for entry in entries
        if entry.state is State.FAILED
        and (not named or entry.id in named)
        and (arm is None or arm in [plan["arm"] for plan in entry.plans])
        and (not causes or _failed(entry).cause in causes)
    ]


def _named(entries: list[Entry], start: str) -> Entry:
    """The failed trial whose id begins so."""
    found = [entry for entry in entries if start and entry.id.startswith(start.lower())]
    if not found:
        known = [entry.id[:10] for entry in entries if entry.state is State.FAILED]
        there = f"failed are {listed(known)}" if known else "none has failed"
        raise TesseralError(f"expected the id of a trial or its beginning, got {start!r}; {there}")
    if len(found) > 1:
        raise TesseralError(
            f"expected the beginning of one trial's id, got {start!r}, with which {len(found)} begin: "
            f"{listed([entry.id[:16] for entry in found])}"
        )
    if found[0].state is not State.FAILED:
        raise TesseralError(f"expected a failed trial, got {found[0].id[:10]}, which is {found[0].state}")
    return found[0]


def _failed(entry: Entry) -> FailedTrial:
    outcome = entry.outcome or {}
    cause = Cause(outcome["cause"]) if "cause" in outcome else None
    return FailedTrial(entry.id, entry.plan["arm"], cause, outcome.get("reason", "not recorded"))


def _set_aside(store: Store, trial: str) -> str:
    """Keep a trial's outcome under its last attempt, then remove it; return where it is kept."""
    path = f"trials/{trial}/outcome.json"
    number = max(attempt_numbers(store.paths(f"trials/{trial}/attempts")), default=0)
    kept = f"trials/{trial}/attempts/{number}.failed.json"
    content = store.read(path)
    if content is None:
        raise damaged(store, path, "it was removed as it was read")
    if not store.create(kept, content):
        raise damaged(store, kept, "it holds the outcome of another attempt", "move it away and try again")
    if store.read(kept) != content:
        raise StoreError(f"{store.location(kept)} was written and cannot be read back")
    store.delete([path])
    return kept


def _reopen(store: Store, entry: Entry) -> bool:
    """Let the search of a trial choose again if it chose nothing, because no trial was complete.

    :returns: whether it chose a setting, which stays.
    """
    path = f"{search_folder(digest(entry.plan['arm'])[:12], entry.plan.get('block') or 0)}/best.json"
    best = read_document(store, path, Best)
    if best is not None and best["trial"] is None:
        store.delete([path])
    return best is not None and best["trial"] is not None


def failed_step(store: Store, trial: str) -> int:
    """Return the furthest step at which a trial failed before it was retried; 0 if it never was.

    :param store: the study's records.
    :param trial: the trial's id.
    """
    kept = failed_attempts(store.paths(f"trials/{trial}/attempts")).values()
    outcomes = (read_document(store, path, OutcomeRecord, trial=trial) for path in kept)
    return max((outcome.get("steps", 0) for outcome in outcomes if outcome is not None), default=0)
