"""The executor contract: work is asked for, run, judged at rungs and told of; results are in the records alone."""

from collections.abc import Callable
from typing import Protocol

from tesseral.cluster.execution.worker import Job, Runner, Stopped, run_trial


class Work(Protocol):
    """What an executor is given. Any call may raise, and the executor then stops its jobs and raises it again."""

    cpus: int
    """CPU cores of a job."""
    gpus: float
    """GPUs of a job."""

    def suggest(self) -> Job | None:
        """The next job; None if there is none now, or none at all any more (`done`)."""

    @property
    def done(self) -> bool:
        """Whether no job is left, and none that runs can lead to another."""

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done."""

    def judge(self, trial: str, epoch: int, value: float) -> bool:
        """Whether the trial is to be stopped at this rung. Its worker waits for the answer."""

    def ended(self, trial: str) -> None:
        """The trial's job has ended, or was stopped as `judge` said; its records say how."""

    def lost(self, trial: str, reason: str) -> None:
        """The trial's job was given up without an outcome; the next start goes on with it."""


class Executor(Protocol):
    """Runs jobs to their end, as many at a time as it can. A job whose worker is lost is run again.

    What goes wrong around a trial, such as a device or a storage that is not there, may be raised or told as lost.
    """

    def run(self, work: Work) -> None:
        """Return when the work is done."""


class Inline:
    """One job after another in this process: for debugging, and where no Ray is wanted.

    :param runner: what a job's worker does.
    """

    def __init__(self, runner: Runner = run_trial) -> None:
        self._runner = runner

    def run(self, work: Work) -> None:
        """See `Executor`."""
        while (job := work.suggest()) is not None:
            try:
                with threads(job.cpus):
                    self._runner(job, *_reports(job, work))
            except Stopped:
                pass
            work.ended(job.trial)


def _reports(job: Job, work: Work) -> tuple[Callable[[int, int], None], Callable[[int, float], None]]:
    """What a worker reports to: of a step that is done, and of a rung."""

    def rung(epoch: int, value: float) -> None:
        if work.judge(job.trial, epoch, value):
            raise Stopped

    return lambda step, steps: work.progress(job.trial, step), rung


class threads:  # noqa: N801 - reads as a statement, like torch.no_grad
    """Give torch as many threads as a trial has CPUs: the last bits of a sum depend on it."""

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus

    def __enter__(self) -> None:
        import torch  # here, for a driver that only hands work out does without its 250 MB

        self._before = torch.get_num_threads()
        torch.set_num_threads(self.cpus)

    def __exit__(self, *_: object) -> None:
        import torch

        torch.set_num_threads(self._before)
