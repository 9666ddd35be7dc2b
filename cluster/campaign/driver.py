"""The driver: from a study made ready to sealed outcomes. Everything it knows at a start comes from the records."""

import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from tesseral.cluster.campaign.campaign import TAKEN_OVER, Campaign
from tesseral.cluster.campaign.display import Display
from tesseral.cluster.campaign.mirror import Mirror
from tesseral.cluster.campaign.suggest import DEFINE
from tesseral.cluster.execution.executor import Executor
from tesseral.cluster.planning.composition import undetermined
from tesseral.cluster.planning.cost import record_rate
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.training.numerics import NUMERICS
from tesseral.study.configuration.trial import State, canonical
from tesseral.study.errors import LeaseLostError, RecordError, StudyFileError
from tesseral.study.parsing.user_function import source_hash
from tesseral.study.records.lease import LENGTH, Lease
from tesseral.study.records.ledger import Ledger, freeze
from tesseral.study.records.store import STORE_ERRORS, Store, read_document

SNAPSHOT_EVERY = 5.0
"""Seconds between snapshots of the trials table, at least."""
SNAPSHOT_SHARE = 0.05
"""Share of the driver's time that snapshots may take: those of long studies are rarer."""


@dataclass(frozen=True)
class Ended:
    """How a run of a study ended."""

    states: Counter[State]
    """How many of its trials are in each state; `planned` are those that are due and were not begun."""
    reused: Counter[str]
    """Study → trials that this run copied from it."""


def run_study(
    plan: StudyPlan,
    executor: Executor,
    display: Display,
    lease_length: float = LENGTH,
    mirror: Mirror | None = None,
) -> Ended:
    """Run what is left of a study, and say how it ended.

    :raises StudyFileError: if the study was started before with other settings.
    :raises LeaseHeldError: if another driver holds it.
    :raises LeaseLostError: if another driver took it over while this one was paused.
    """
    store = Store(plan.storage).child(plan.study.name)
    before = freeze(store, plan.study)
    if before is not None and (changes := plan.study.difference(before)):
        raise StudyFileError(
            "",
            f"the study {plan.study.name!r} was started with other settings: {'; '.join(changes[:3])}"
            f"{f'; and {len(changes) - 3} more' if len(changes) > 3 else ''}; restore them, or name the study anew",
        )
    with Lease.acquire(store, lease_length, on_wait=display.waiting) as lease:
        ledger = Ledger(store)
        _refuse_other_content(plan, ledger)
        _refuse_other_proposer(plan, store)
        for sentence in undetermined(plan):
            display.said(sentence)
        campaign = Campaign(plan, store, lease, ledger, display, mirror)
        try:
            with _Snapshots(ledger):
                executor.run(campaign)
        finally:
            if mirror is not None:
                mirror.close()
        if lease.superseded:
            raise LeaseLostError(TAKEN_OVER)
        states = Counter(entry.state for entry in ledger.entries() for _ in entry.plans)
        states[State.PLANNED] += max(campaign.trials - sum(states.values()), 0)
        with suppress(*STORE_ERRORS):  # derived, and for the next plan alone
            record_rate(plan.storage, plan.study.name, ledger)
        return Ended(+states, campaign.reused)


def _refuse_other_content(plan: StudyPlan, ledger: Ledger) -> None:
    """The settings are those of the first start; the data and the numerics must be as well, or arms would mix."""
    known, sources = set(plan.data_hashes.values()), plan.sources
    for entry in ledger.entries():
        trial = entry.plan["trial"]
        if trial["numerics"] != NUMERICS:
            changed = f"by numerics {trial['numerics']} of tesseral; this version computes numerics {NUMERICS}"
        elif trial["data_hash"] not in known:
            now = ", ".join(sorted(content[:12] for content in known))
            changed = f"on other data (content {trial['data_hash'][:12]}, now {now})"
        elif trial.get("source") not in sources:
            changed = "with another source of the network that network.define names"
        else:
            continue
        raise RecordError(f"the study {plan.study.name!r} was started {changed}; restore that, or name the study anew")


def _refuse_other_proposer(plan: StudyPlan, store: Store) -> None:
    """What `search.define` names proposes as it did at the first start, or the arms' searches would mix."""
    search = plan.study.file.search
    if search is None or search.define is None:
        return
    now, path = source_hash(search.define, DEFINE), "search/define.json"
    text = canonical({"define": search.define, "source": now}).encode()
    if not [name for name in store.paths("search") if name != path]:
        store.replace(path, text)  # a first version that could propose nothing binds nobody
    store.create(path, text)
    if (record := read_document(store, path, "source")) is None:
        raise RecordError(f"{store.location(path)} is damaged; remove it and run again")
    if record["source"] != now:
        raise RecordError(
            f"the study {plan.study.name!r} was started with another source of the module that search.define names "
            f"(content {record['source'][:12]}, now {now[:12]}); restore that, or name the study anew"
        )


class _Snapshots:
    """Rewrites `trials.parquet` every few seconds while trials run, and once at the end."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="snapshots", daemon=True)

    def _loop(self) -> None:
        pause = SNAPSHOT_EVERY
        while not self._stop.wait(pause):
            began = time.monotonic()
            with suppress(*STORE_ERRORS):  # derived: the next one holds all that this one would have
                self._ledger.snapshot()
            pause = max(SNAPSHOT_EVERY, (time.monotonic() - began) / SNAPSHOT_SHARE)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(*STORE_ERRORS if kind else ()):  # never hide what went wrong first
            self._ledger.snapshot()
