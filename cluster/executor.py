"""The executor contract: jobs in, records out. Everything an executor needs to know of a trial is a `Job`."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from tesseral.cluster.worker import Job, run_trial


class Watch(Protocol):
    """Told by an executor how its jobs get on. It may raise, and the executor then stops its jobs."""

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done."""

    def ended(self, trial: str) -> None:
        """The trial's job has ended; its records say how."""

    def lost(self, trial: str, reason: str) -> None:
        """The trial's job was given up without an outcome; the next start goes on with it."""


class Executor(Protocol):
    """Runs jobs to their end, in any order. A job whose worker is lost is run again, a few times.

    What goes wrong around a trial, such as a device or a storage that is not there, may be raised or told as lost.
    """

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Return when every job has ended. Results are in the records, never here."""


class Inline:
    """One job after another in this process: for debugging, and where no Ray is wanted."""

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Executor`."""
        for job in jobs:
            with threads(job.cpus):
                run_trial(job, _report(job, watch))
            watch.ended(job.trial)


def _report(job: Job, watch: Watch) -> Callable[[int, int], None]:
    return lambda step, steps: watch.progress(job.trial, step)


class threads:  # noqa: N801 - reads as a statement, like torch.no_grad
    """Give torch as many threads as a trial has CPUs: the last bits of a sum depend on it."""

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(self.cpus)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
