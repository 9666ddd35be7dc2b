"""Calls of a driver's work from inside Ray Tune: which job is handed out next, and what is done about a lost one."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from functools import partial
from math import ceil
from typing import Any

from tesseral.cluster.execution.executor import Work
from tesseral.cluster.execution.handed_job import HandedJob
from tesseral.cluster.execution.interruption import keep_within
from tesseral.cluster.execution.ray_trial import ask_to_leave
from tesseral.cluster.execution.worker import Job
from tesseral.cluster.nodes.code import code_hash
from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.provenance import TRAINING, versions_of
from tesseral.cluster.nodes.ray_room import ending
from tesseral.cluster.nodes.ray_session import LOCAL, ray
from tesseral.cluster.nodes.unfit_nodes import Nodes

RESTARTS = 1000
"""How often a lost trial is run again. In practice its records fail a trial that makes no progress long before."""
FEW = 3
"""How often a trial is run again after an error that is no loss, such as a worker that cannot import its code."""
READERS = 16
"""Trials whose records are read at the same time when they have ended."""
HEED_EVERY = 1.0
"""Seconds between two questions to Ray whether a node is about to end."""
UNSTARTED = "creation task"
"""Part of Ray's message where a worker could not even begin, because its node lacks a package for example."""


class Calls:
    """Calls the work from inside Tune, one call at a time, and keeps what it raises first.

    Tune would wrap or lose an exception. It is therefore kept, stops the tuner, and is raised again
    by `RayExecutor.run`. From then on the work is not called: its lease may be gone.
    """

    def __init__(self, work: Work, needs: Needs, shared: bool) -> None:
        self.work, self.needs, self._shared = work, needs, shared
        say, kept = partial(self.call, work.say), lambda trial: self.call(work.kept, trial) or 0
        self.nodes = Nodes(_known_nodes, needs, say, kept)
        self.again: deque[Job] = deque()
        """Jobs that were lost, which go on first."""
        self.crowded: deque[Job] = deque()
        """Jobs that ran out of memory beside others, which are run alone once there is nothing else to hand out."""
        self.waiting: set[str] = set()
        """Ids of the trials that were handed out and have not started."""
        self.actors: dict[str, str] = {}
        """Id of each trial that runs → id of Ray's actor."""
        self.restarts: Counter[str] = Counter()
        self.faults: list[BaseException] = []
        self.running: set[str] = set()
        """Ids of the trials that were handed out and have not ended."""
        self.leaving = False
        """Whether no further trial is handed out."""
        self.over = False
        """Whether all work is done."""
        self._heeded = 0.0
        self._versions = versions_of(TRAINING)
        self._reading: dict[str, Future[None]] = {}
        """Id of a trial whose job has ended → that its records are being read."""
        self.threads = ThreadPoolExecutor(READERS, "records")
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts for a recovery that is never used

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the work; None if it raises, which is kept, or has raised before."""
        with self._lock:
            if self.faults:
                return None
            try:
                return function(*arguments)
            except Exception as error:  # noqa: BLE001
                self.faults.append(error)
                return None

    def next(self) -> Job | None:
        """The next job: first those that were lost, last those that need a device alone.

        Ends are taken here too: where no trial runs, Tune asks for the next one alone, for ten minutes.
        """
        self.take_ends()
        self.nodes.settle()
        if self.again:
            return self.again.popleft()
        job = self.call(self.work.suggest, len(self.waiting))
        if job is not None:
            return replace(job, gpus=self.needs.gpus, shared=self._shared)
        return self.crowded.popleft() if self.crowded and not self.faults else None

    def handed(self, job: Job) -> HandedJob:
        """A job with what it reserves and where it may run."""
        needs = self.needs.alone(self.nodes.open_to(job.trial)) if job.alone else self.needs
        where = {} if LOCAL else self.nodes.selector(job.trial)
        return HandedJob(asdict(job), needs.bundle, where, len(self.running), code_hash(), self._versions)

    def read(self, trial: str) -> None:
        """Have the records of a trial read whose job has ended. Others are read, and jobs handed out, meanwhile."""
        self._reading[trial] = self.threads.submit(self.work.read, trial)

    def take_ends(self) -> None:
        """Take the ends of the trials whose records are read. Where nothing else is left to do, wait for one."""
        if self._reading.keys() >= self.running:
            wait(self._reading.values(), HEED_EVERY, FIRST_COMPLETED)
        for trial in [trial for trial, reading in self._reading.items() if reading.done()]:
            del self._reading[trial]
            self.call(self.work.ended, trial)
            self.running.discard(trial)

    def heed(self) -> None:
        """Have trials leave the nodes that are about to end."""
        if LOCAL or self.leaving or time.monotonic() - self._heeded < HEED_EVERY:
            return
        self._heeded, within = time.monotonic(), ending()
        if within.keys() - self.nodes.ending:
            self.nodes.end(within, {trial: node_of(actor) for trial, actor in self.actors.items()})
            ask_to_leave(self.nodes.ending)

    def lost(self, job: Job, error: BaseException | None) -> None:
        """Take the loss of a job's worker: the job goes on elsewhere, if need be alone."""
        actor = self.actors.pop(job.trial, "")
        if self.faults or self.leaving:
            self.call(self.work.lost, job.trial, "its worker was lost as the driver ended")
            self.running.discard(job.trial)
            return
        self.restarts[job.trial] += 1
        if self.restarts[job.trial] > (RESTARTS if _gone(error) else FEW):
            self.call(self.work.lost, job.trial, _last_line(error))
            self.running.discard(job.trial)
        elif job.shared and isinstance(error, ray.exceptions.OutOfMemoryError):
            self.alone(job, "its node ran out of memory")
        elif not LOCAL and UNSTARTED in str(error):
            if self.nodes.unfit(job.trial, node_of(actor), _last_line(error), certain=True):
                self.again.append(job)
                return
            self.call(self.work.lost, job.trial, _last_line(error))
            self.running.discard(job.trial)
        else:
            self.nodes.lost(job.trial, "" if LOCAL else node_of(actor))  # this machine, if it answers, is not lost
            self.again.append(job)

    def alone(self, job: Job, reason: str) -> None:
        """Have a job run again, alone, once there is nothing else to hand out."""
        beside = f"a share of {self.needs.gpus:g} of a GPU" if self.needs.gpus else "a node's memory"
        self.call(
            self.work.say,
            f"trial {job.trial[:10]} ran out of memory on {beside} ({reason}); it is tried again alone, once",
        )
        self.crowded.append(replace(job, shared=False, alone=True, gpus=float(ceil(job.gpus))))

    def leave(self, reason: BaseException) -> None:
        """Let the running trials keep their state, if Ray answers, and end the tuner."""
        self.leaving = True
        if isinstance(reason, KeyboardInterrupt):
            ask_to_leave()
            end = time.monotonic() + keep_within()
            while self.running and not self.faults and time.monotonic() < end:
                time.sleep(0.05)
        self.faults.append(reason)  # without the lock: a call may wait for a silent storage


def _known_nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())


def node_of(actor: str) -> str:
    """Id of the node on which an actor of Ray runs or ran; empty if Ray does not know."""
    found = ray._private.state.actors(actor) if actor else {}
    return str(found.get("Address", {}).get("NodeID", "")) if found else ""


def _gone(error: BaseException | None) -> bool:
    """Whether a process or a node ended, so that the trial can go on in another."""
    return error is None or isinstance(error, ray.exceptions.RayActorError | ray.exceptions.OutOfMemoryError)


def _last_line(error: BaseException | None) -> str:
    lines = str(getattr(error, "cause", None) or error or "").strip().splitlines()
    return lines[-1] if lines else "its worker was lost"
