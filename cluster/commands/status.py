"""How far a study is: its trials by stage, arm and state, those that are due and not yet recorded among them."""

from collections import Counter
from collections.abc import Iterable

from tesseral.study.configuration.trial import State, digest
from tesseral.study.records.ledger import Entry
from tesseral.study.records.store import Store, read_document
from tesseral.study.study import Study

Standing = dict[str, dict[str, Counter[State]]]
"""Stage → arm's label → trials in each state."""


def standing(store: Store, study: Study, entries: Iterable[Entry]) -> Standing:
    """Of a study that was started.

    Trials are recorded as they are launched; what the study file asks for beyond them is planned. A search that has
    ended is as large as it was, and an arm of which it found nothing is not confirmed.

    :param store: the study's.
    """
    entries = list(entries)
    labels = _labels(study, {plan["arm"] for entry in entries for plan in entry.plans})
    found: Standing = {stage: {label: Counter() for label in labels} for stage in _stages(study)}
    for entry in entries:
        for plan in entry.plans:
            found[plan["stage"]].setdefault(plan["arm"], Counter())[entry.state] += 1
    for stage, arms in found.items():
        for label, counts in arms.items():
            missing = _due(store, study, stage, label) - counts.total()
            counts[State.PLANNED] += max(missing, 0)
    return {stage: {label: +counts for label, counts in arms.items()} for stage, arms in found.items()}


def _stages(study: Study) -> tuple[str, ...]:
    return ("search", "confirm") if study.file.search else ("confirm",)


def _labels(study: Study, recorded: set[str]) -> list[str]:
    """Of the arms as they are recorded: those that matching made one network have one label there."""
    joined = {part: label for label in recorded for part in label.split(" = ")}
    return list(
        dict.fromkeys(
            arm.label if arm.label in recorded else joined.get(arm.labels[0], arm.label) for arm in study.arms
        )
    )


def _due(store: Store, study: Study, stage: str, label: str) -> int:
    """Trials of an arm; of the confirm stage, those that it has at least."""
    replication, search = study.file.replication, study.file.search
    ended = read_document(store, f"search/{digest(label)[:12]}/best.json", "trial", "trials") if search else None
    if stage == "search":
        return int(ended["trials"]) if ended else search.trials if search else 0
    return 0 if ended and ended["trial"] is None else replication.blocks * replication.replicates
