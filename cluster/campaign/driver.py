"""The driver runs what is left of a study. All that it knows at a start comes from the records.

Begin with `run`, which is what `tesseral run` does; `run_study` is the same for a study that is prepared already.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from tesseral.cluster.campaign.campaign import Campaign
from tesseral.cluster.campaign.display import Display, Silent
from tesseral.cluster.campaign.mirror import Mirror
from tesseral.cluster.campaign.suggest import DEFINE
from tesseral.cluster.execution.executor import Executor, InlineExecutor
from tesseral.cluster.nodes.ray_machine import in_job
from tesseral.cluster.planning.composition import undetermined
from tesseral.cluster.planning.cost import record_rate
from tesseral.cluster.planning.growth import dropped_notes, growth
from tesseral.cluster.planning.overlap import overlaps
from tesseral.cluster.planning.plan import StudyPlan, prepare
from tesseral.models.training.numerics import NUMERICS
from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError, StoreError, TesseralError
from tesseral.study.parsing.user_function import source_hash
from tesseral.study.records.counted import of_arms
from tesseral.study.records.document import read_document, seal
from tesseral.study.records.growth import grow, keep_holdouts
from tesseral.study.records.lease import LENGTH, Lease
from tesseral.study.records.ledger import Entry, Ledger, freeze
from tesseral.study.records.store import Store
from tesseral.study.study import Study

SNAPSHOT_EVERY = 5.0
"""Shortest time between two snapshots of the trials table, in seconds."""
SNAPSHOT_SHARE = 0.05
"""Largest share of the driver's time that snapshots take. Those of large studies are therefore rarer."""


@dataclass(frozen=True)
class Ended:
    """How a run of a study ended, over the trials of both stages.

    A trial that ended has an outcome: it is complete, it was pruned (stopped early by the search), or it failed.
    `print(tesseral.run("mine.toml").failures)` shows why trials failed.
    """

    states: Counter[State]
    """State → number of the study's trials in it, whichever run ended them; a trial that several arms share counts in
    each. `planned` trials are due and were not begun; `running` ones were begun and have no outcome, so the next run
    continues them."""
    reused: Counter[str]
    """Name of another study → number of its trials that this run copied instead of training them again."""
    failures: tuple[str, ...] = ()
    """Why trials of this study failed, each reason once. No later run repeats them by itself: see `tesseral retry`."""
    given_up: tuple[str, ...] = ()
    """Why this run gave trials up without an outcome, each reason once, such as a worker that was lost again and again.
    The next run continues them."""
    causes: Counter[str | None] = field(default_factory=Counter)
    """Cause → number of the failed trials: `memory`, `machine`, `training`, `code` or `refused`; None where an earlier
    version recorded none."""

    @property
    def left(self) -> int:
        """Number of trials without an outcome."""
        return sum(count for state, count in self.states.items() if not state.finished)


def run(
    study: Study | str | Path,
    storage: str | Path = "runs",
    executor: Literal["ray", "inline"] | Executor = "ray",
    *,
    display: Display | None = None,
    lease: float = LENGTH,
    optuna_storage: str | None = None,
) -> Ended:
    """Run what is left of a study, as `tesseral run` does. The same call again resumes it, after any kill.

    The study's folder is put first on `sys.path`, so that modules of your own are found.

    :param study: a study, or the path of its file.
    :param storage: folder or URL where reference data lies and records are written.
    :param executor: `ray` uses all cores of this machine, or the cluster that RAY_ADDRESS names; `inline` runs one
        trial after another in this process.
    :param display: shows the progress; None shows nothing.
    :param lease: seconds of silence after which another driver may take over.
    :param optuna_storage: Optuna storage that mirrors the searches for optuna-dashboard, such as `sqlite:///mirror.db`.
    :returns: how the run ended. Trials that failed are counted there and stop nothing.
    :raises StudyFileError: if the study file is not valid, or the study was started before with other settings.
    :raises DataError: if reference data is missing, torn or too small.
    :raises RecordError: if the study was started with other data, numerics or sources, or its records are damaged.
    :raises TesseralError: if `executor` is none of these, or no machine has the device that the study asks for.
    :raises LeaseHeldError: if another driver holds the study.
    :raises LeaseLostError: if another driver took the study over while this one was paused.
    :raises StoreError: if the storage fails; the same call goes on.
    """
    if executor not in ("ray", "inline") and not hasattr(executor, "run"):
        raise TesseralError(f"executor: expected 'ray', 'inline' or an Executor, got {executor!r}")
    display = display or Silent()
    display.doing("reading the reference data and sizing the arms")
    plan = prepare(study, storage)
    mirror = Mirror(optuna_storage, plan.study.name) if optuna_storage and plan.study.file.search else None
    if executor == "ray":
        from tesseral.cluster.execution.ray_tune import RayExecutor  # here: Ray is not needed for `inline`

        executor = RayExecutor()
    elif executor == "inline":
        executor = InlineExecutor()
    return run_study(plan, executor, display, lease, mirror)


def run_study(
    plan: StudyPlan,
    executor: Executor,
    display: Display,
    lease_length: float = LENGTH,
    mirror: Mirror | None = None,
) -> Ended:
    """Run what is left of a prepared study.

    :param plan: from `tesseral.cluster.planning.plan.prepare`.
    :param executor: runs the jobs.
    :param display: shows the progress.
    :param lease_length: seconds of silence after which another driver may take over.
    :param mirror: shows searches in an Optuna storage; it is closed at the end.
    :returns: how the run ended.
    :raises StudyFileError: if the study was started before with other settings.
    :raises RecordError: if the study was started with other data, numerics or sources, or its records are damaged.
    :raises TesseralError: if no machine has the device that the study asks for.
    :raises LeaseHeldError: if another driver holds it.
    :raises LeaseLostError: if another driver took it over while this one was paused.
    :raises StoreError: if the storage fails; the same call goes on.
    """
    display.doing("reading the records")
    store = Store(plan.storage).child(plan.study.name)
    before = freeze(store, plan.study)
    grown = () if before is None else growth(plan, before)
    ledger, labels = Ledger(store, strict=True), {arm.label for arm in plan.arms}
    above = max((begin["lease"] for entry in ledger.entries() for begin in entry.begins), default=0)
    with Lease.acquire(store, lease_length, above=above, on_wait=display.waiting) as lease:
        recorded = ledger.entries()
        _refuse_other_content(plan, of_arms(recorded, labels))
        if plan.holdouts:
            keep_holdouts(store, plan.holdout_names)
        if before is not None and grown:
            complete = [entry for entry in recorded if entry.state is State.COMPLETE]
            told = sum(entry.plan["stage"] == "confirm" for entry in complete)
            grow(store, plan.study, before, grown, told)
            display.said(f"the study grows: {'; '.join(grown)}; its report says so")
        _refuse_other_proposer(plan, store)
        for sentence in (*dropped_notes(plan), *undetermined(plan), *overlaps(plan)):
            display.said(sentence)
        campaign = Campaign(plan, store, lease, ledger, recorded, display, mirror)
        try:
            with _Snapshots(ledger):
                executor.run(campaign)
        finally:
            if mirror is not None:
                mirror.close()
        lease.check()
        entries = ledger.entries()
        ledger.snapshot(entries)
        own = of_arms(entries, labels)
        states = Counter(entry.state for entry in own for _ in entry.plans)
        states[State.PLANNED] += max(campaign.trials - sum(states.values()), 0)
        with suppress(StoreError):  # a derived number, which only the next plan uses
            record_rate(plan.storage, plan.study.name, entries)
        failed = [
            entry.outcome
            for entry in own
            for _ in entry.plans
            if entry.outcome is not None and entry.state is State.FAILED
        ]
        failures = dict.fromkeys(outcome["reason"] for outcome in failed if "reason" in outcome)
        causes = Counter(outcome.get("cause") for outcome in failed)
        return Ended(+states, campaign.reused, tuple(failures), tuple(campaign.given_up), causes)


def _refuse_other_content(plan: StudyPlan, entries: Iterable[Entry]) -> None:
    """Reject other data, numerics or network sources than at the first start: arms would no longer be comparable.

    :param entries: of the plan's arms, since those that were dropped are compared with none.
    """
    known, sources = set(plan.data_hashes.values()), plan.sources
    for entry in entries:
        trial = entry.plan["trial"]
        if trial["numerics"] != NUMERICS:
            changed = f"by numerics {trial['numerics']} of tesseral; this version computes numerics {NUMERICS}"
        elif trial["data_hash"] not in known:
            now = ", ".join(sorted(content[:12] for content in known))
            changed = f"on other data (content {trial['data_hash'][:12]}, now {now})"
        elif others := {*trial.get("tests", {}).values(), trial.get("split")} - known - {None}:
            changed = f"with another test set or published split (content {min(others)[:12]})"
        elif trial.get("source") not in sources:
            changed = "with another source of the network that network.define names"
        else:
            continue
        raise RecordError(
            f"the study {plan.study.name!r} was started {changed}; restore that, or give the study another name"
        )


class Definition(TypedDict):
    """`search/define.json`: the source of the module that `search.define` names."""

    define: str
    source: str


def _refuse_other_proposer(plan: StudyPlan, store: Store) -> None:
    """Reject another source of `search.define` than at the first start: proposals would mix two search spaces."""
    search = plan.study.file.search
    if search is None or search.define is None:
        return
    now, path = source_hash(search.define, DEFINE), "search/define.json"
    text = seal({"define": search.define, "source": now})
    if not [name for name in store.paths("search") if name != path]:
        store.replace(path, text)  # the first version proposed nothing, so it may still be replaced
    store.create(path, text)
    record = read_document(store, path, Definition)
    if record is not None and record["source"] != now:
        raise RecordError(
            f"the study {plan.study.name!r} was started with another source of the module that search.define names "
            f"(content {record['source'][:12]}, now {now[:12]}); restore that, or give the study another name"
        )


class _Snapshots:
    """Rewrites `trials.parquet` every few seconds while trials run, and once where an exception ends them.

    A submitted job that is stopped leaves it: Ray kills the job soon, and the release of the study comes first.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="snapshots", daemon=True)

    def _loop(self) -> None:
        pause = SNAPSHOT_EVERY
        while not self._stop.wait(pause):
            began = time.monotonic()
            with suppress(StoreError, RecordError):  # the next snapshot holds all that this one would have
                self._ledger.snapshot()
            pause = max(SNAPSHOT_EVERY, (time.monotonic() - began) / SNAPSHOT_SHARE)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        if kind and in_job():
            return
        if kind:
            self._ledger.store.hurry()
        self._thread.join()
        if kind:
            with suppress(StoreError, RecordError):  # an error of the snapshot must not hide the first one
                self._ledger.snapshot()
