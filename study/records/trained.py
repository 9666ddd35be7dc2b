"""Complete trials of a study, found by their id or their arm, and the weights that they ended with."""

from pathlib import Path

from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError
from tesseral.study.records.counted import counted
from tesseral.study.records.document import damaged
from tesseral.study.records.ledger import Entry, Ledger
from tesseral.study.records.segments import altered
from tesseral.study.records.started import not_started
from tesseral.study.records.store import Store
from tesseral.study.wording import listed_labels


def find_trial(storage: str | Path, study: str, trial: str) -> Entry:
    """The complete trial whose id begins with `trial`.

    :param storage: folder or URL that holds the study.
    :param study: its name.
    :param trial: an id or its first digits.
    :raises StudyFileError: if no study of that name was started there.
    :raises RecordError: if there is none or more than one, or it is not complete.
    """
    return _by_id(_entries(storage, study), study, trial)


def find_trials(storage: str | Path, study: str, which: str | None) -> list[Entry]:
    """The complete trials of an arm in the confirm stage, or the one trial whose id begins with `which`.

    A trial of an arm that was dropped is found by its id alone.

    :param storage: folder or URL that holds the study.
    :param study: its name.
    :param which: label of an arm, or an id or its first digits; None: the only arm of the study.
    :returns: at least one, in the order of blocks and replicates.
    :raises StudyFileError: if no study of that name was started there.
    :raises RecordError: if there is no such trial, or the arm has no complete one.
    """
    entries = _entries(storage, study)
    arms: dict[str, list[Entry]] = {}
    for entry in counted(Store(storage).child(study), entries):
        for plan in entry.plans:
            if plan["stage"] == "confirm":
                arms.setdefault(plan["arm"], []).append(entry)
    if which is None:
        if len(arms) != 1:
            labels = listed_labels(sorted(arms)) or "none"
            raise RecordError(f"expected a trial or an arm of {study}, got none; arms are: {labels}")
        (which,) = arms
    if which not in arms:
        return [_by_id(entries, study, which, arms)]
    complete = [entry for entry in arms[which] if entry.state is State.COMPLETE]
    if not complete:
        raise RecordError(f"expected a complete trial of the arm {which} of {study}, it has none yet")
    return sorted(complete, key=lambda entry: (entry.plan["block"] or 0, entry.plan["replicate"] or 0))


def _entries(storage: str | Path, study: str) -> list[Entry]:
    store = Store(storage).child(study)
    if store.read("study.toml") is None:
        raise not_started(storage, study)
    return Ledger(store).entries()


def _by_id(entries: list[Entry], study: str, trial: str, arms: dict[str, list[Entry]] | None = None) -> Entry:
    complete = [entry for entry in entries if entry.state is State.COMPLETE]
    matches = [entry for entry in entries if entry.id.startswith(trial)]
    if len(matches) != 1 or not trial:
        known = ", ".join(f"{entry.id[:10]} ({entry.plan['arm']})" for entry in complete[:10]) or "none"
        more = f" and {len(complete) - 10} others" if len(complete) > 10 else ""
        labels = f"; arms are: {listed_labels(sorted(arms))}" if arms else ""
        raise RecordError(
            f"expected the id of a complete trial of {study} or its first digits{', or an arm' if arms else ''}, got "
            f"{trial!r}, which begins {len(matches)} ids; there are: {known}{more}{labels}"
        )
    if matches[0].state is not State.COMPLETE:
        raise RecordError(f"expected a complete trial, {matches[0].id[:10]} of {study} is {matches[0].state}")
    return matches[0]


def read_weights(store: Store, entry: Entry) -> bytes:
    """The last checkpoint of a complete trial, which holds its weights.

    :param store: the study's records.
    :param entry: the trial's records.
    :raises RecordError: if it is missing or altered.
    """
    path: str = (entry.outcome or {}).get("checkpoint") or ""
    content = store.read(path) if path else None
    if content is None:
        raise RecordError(f"expected the weights of trial {entry.id[:10]} at {path} in {store.url}, found none there")
    if altered(path, content):
        advice = f"remove it and trials/{entry.id}/outcome.json, and run the study again"
        raise damaged(store, path, "its content does not match the hash in its name", advice)
    return content
