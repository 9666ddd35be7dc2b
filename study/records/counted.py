"""The trials that count: those of arms that the study has. Records keep the trials of arms that were dropped, too."""

from collections.abc import Container, Iterable
from dataclasses import replace

from tesseral.study.records.growth import dropped_arms
from tesseral.study.records.ledger import Entry
from tesseral.study.records.store import Store


def of_arms(entries: Iterable[Entry], arms: Container[str]) -> list[Entry]:
    """The trials of some arms, each as if these alone shared it.

    :param entries: from a ledger.
    :param arms: labels of the arms.
    """
    own = []
    for entry in entries:
        plans = tuple(plan for plan in entry.plans if plan["arm"] in arms)
        if len(plans) == 1 + len(entry.others):
            own.append(entry)
        elif plans:
            own.append(replace(entry, plan=plans[0], others=plans[1:]))
    return own


def counted(store: Store, entries: Iterable[Entry]) -> list[Entry]:
    """The trials of the arms that were not dropped, as `of_arms`.

    :param store: the study's records.
    :param entries: from its ledger.
    :raises RecordError: if the record of a dropped arm is damaged.
    """
    entries = list(entries)
    recorded = {plan["arm"] for entry in entries for plan in entry.plans}
    return of_arms(entries, recorded.difference(dropped_arms(store)))
