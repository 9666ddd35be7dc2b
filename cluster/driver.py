"""The driver: from a study file to sealed outcomes. Everything it knows at a start comes from the records."""

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Protocol

from tesseral.cluster.executor import Executor
from tesseral.cluster.provenance import provenance
from tesseral.cluster.references import open_reference
from tesseral.cluster.worker import Job
from tesseral.models.data_set import check_sizes
from tesseral.models.network import count_parameters
from tesseral.models.reach import unreachable
from tesseral.models.training import NUMERICS
from tesseral.study.attempt import clear
from tesseral.study.errors import LeaseLostError, RecordError, StudyFileError
from tesseral.study.lease import LENGTH, Holder, Lease
from tesseral.study.ledger import Ledger, freeze, plan
from tesseral.study.store import STORE_ERRORS, Store
from tesseral.study.stages import Planned
from tesseral.study.study import Study
from tesseral.study.trial import State

SNAPSHOT_EVERY = 5.0
"""Seconds between snapshots of the trials table."""
TAKEN_OVER = "another driver took the study over; this one stops"


@dataclass(frozen=True)
class ArmPlan:
    """What is known of an arm before anything is spent."""

    label: str
    hidden: str
    parameters: int
    unreachable: tuple[str, ...]
    steps: int
    """Optimizer steps of one trial."""


@dataclass(frozen=True)
class StudyPlan:
    """A study made ready: checked against its data, its trials named. Nothing has been written."""

    study: Study
    storage: str
    arms: tuple[ArmPlan, ...]
    trials: tuple[Planned, ...]


class Display(Protocol):
    """Shown by the driver how a study gets on."""

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Another driver's lease may still be alive; decided in `seconds`."""

    def started(self, trials: int, finished: int, steps: int) -> None:
        """`steps` are those of the trials that are left."""

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done."""

    def ended(self, trial: str) -> None:
        """A trial's job has ended."""

    def lost(self, trial: str, reason: str) -> None:
        """A trial's job was given up without an outcome."""


def prepare(study: Study, storage: str) -> StudyPlan:
    """Check a study against its data and its networks, and name its trials. Writes nothing.

    :raises DataError: if reference data is missing, torn or too small.
    :raises StudyFileError: if an arm cannot reach all of its target and the study does not allow it.
    """
    storage = Store(storage).url  # absolute, for workers have folders of their own
    hashes: dict[str, str] = {}
    arms = []
    for arm in study.arms:
        configuration = arm.configuration
        reference = open_reference(storage, configuration.data.reference)
        hashes[configuration.data.reference] = reference.content_hash
        check_sizes(configuration.data, reference)
        missing = tuple(str(irrep) for irrep in unreachable(configuration, reference.basis))
        if missing and not study.file.study.allow_unreachable:
            raise StudyFileError(
                "study.allow_unreachable",
                f"arm {arm.label!r} cannot reach {', '.join(missing)} of its target; leave the arm out, widen its "
                "hidden irreps or harmonics, or set allow_unreachable = true: those outputs count as predicted zero",
            )
        parameters = count_parameters(configuration, reference.basis)
        hidden = str(configuration.network.hidden.irreps)
        arms.append(ArmPlan(arm.label, hidden, parameters, missing, configuration.max_steps))
    trials = tuple(study.confirm(hashes, NUMERICS))
    if len({planned.trial.id for planned in trials}) < len(trials):
        raise StudyFileError("factors", "two arms train the same trials: their data differ in name alone")
    return StudyPlan(study, storage, tuple(arms), trials)


def run_study(plan_: StudyPlan, executor: Executor, display: Display, lease_length: float = LENGTH) -> Counter[State]:
    """Run what is left of a study, and return how many of its trials are in each state.

    :raises StudyFileError: if the study was started before with other settings.
    :raises LeaseHeldError: if another driver holds it.
    :raises LeaseLostError: if another driver took it over while this one was paused.
    """
    store = Store(plan_.storage).child(plan_.study.name)
    before = freeze(store, plan_.study)
    if before is not None and (changes := plan_.study.difference(before)):
        raise StudyFileError(
            "",
            f"the study {plan_.study.name!r} was started with other settings: {'; '.join(changes[:3])}"
            f"{f'; and {len(changes) - 3} more' if len(changes) > 3 else ''}; restore them, or name the study anew",
        )
    with Lease.acquire(store, lease_length, on_wait=display.waiting) as lease:
        ledger = Ledger(store)
        _refuse_other_content(plan_, ledger)
        _write_plans(store, plan_)
        states = {entry.id: entry.state for entry in ledger.entries()}
        if damaged := [planned.trial.id for planned in plan_.trials if planned.trial.id not in states]:
            raise RecordError(
                f"{store.location(f'trials/{damaged[0]}/trial.json')} is damaged; remove it and run again"
            )
        left = [planned for planned in plan_.trials if not states[planned.trial.id].finished]
        for planned in plan_.trials:
            if states[planned.trial.id].finished:
                clear(store, planned.trial.id)
        jobs = [_job(plan_, planned, lease.number) for planned in left]
        display.started(len(plan_.trials), len(plan_.trials) - len(jobs), sum(job.steps for job in jobs))
        with _Snapshots(ledger):
            executor.run(jobs, _Fenced(lease, display))
        if lease.superseded:
            raise LeaseLostError(TAKEN_OVER)
        ids = {planned.trial.id for planned in plan_.trials}
        return Counter(entry.state for entry in ledger.entries() if entry.id in ids)


def _refuse_other_content(plan_: StudyPlan, ledger: Ledger) -> None:
    """The settings are those of the first start; the data and the numerics must be as well, or arms would mix."""
    ids = {planned.trial.id for planned in plan_.trials}
    others = [entry for entry in ledger.entries() if entry.plan["stage"] == "confirm" and entry.id not in ids]
    if not others:
        return
    before, now = others[0].trial, plan_.trials[0].trial
    if before.numerics != now.numerics:
        changed = f"by numerics {before.numerics} of tesseral; this version computes numerics {now.numerics}"
    else:
        changed = f"on other data (content {before.data_hash[:12]}, now {now.data_hash[:12]})"
    raise RecordError(f"the study {plan_.study.name!r} was started {changed}; restore that, or name the study anew")


def _write_plans(store: Store, plan_: StudyPlan) -> None:
    arms = {arm.label: arm for arm in plan_.arms}
    facts = provenance()
    traces = asdict(plan_.study.file.traces)
    for planned in plan_.trials:
        arm = arms[planned.arm.label]
        plan(
            store,
            planned,
            plan_.study.name,
            target=planned.trial.configuration.target.quantity,
            parameters=arm.parameters,
            unreachable="+".join(arm.unreachable),
            traces=traces,
            provenance=facts,
        )


def _job(plan_: StudyPlan, planned: Planned, lease: int) -> Job:
    trial = planned.trial
    resources = asdict(plan_.study.file.resources)
    return Job(plan_.storage, plan_.study.name, trial.id, lease, trial.configuration.max_steps, **resources)


class _Fenced:
    """Passes an executor's news on, and stops it once the lease is lost."""

    def __init__(self, lease: Lease, display: Display) -> None:
        self._lease = lease
        self._display = display

    def progress(self, trial: str, step: int) -> None:
        self._check()
        self._display.progress(trial, step)

    def ended(self, trial: str) -> None:
        self._check()
        self._display.ended(trial)

    def lost(self, trial: str, reason: str) -> None:
        self._check()
        self._display.lost(trial, reason)

    def _check(self) -> None:
        if self._lease.lost.is_set():
            raise LeaseLostError(TAKEN_OVER)


class _Snapshots:
    """Rewrites `trials.parquet` every few seconds while trials run, and once at the end."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="snapshots", daemon=True)

    def _loop(self) -> None:
        while not self._stop.wait(SNAPSHOT_EVERY):
            with suppress(*STORE_ERRORS):  # derived: the next one holds all that this one would have
                self._ledger.snapshot()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(*STORE_ERRORS if kind else ()):  # never hide what went wrong first
            self._ledger.snapshot()
