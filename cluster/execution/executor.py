"""The contract between the driver and an executor, and an executor that runs in this process.

An executor asks the work for jobs, runs them, has them judged at rungs, and reports their ends. Results travel through
the records alone, so any executor can lose a worker without losing what it computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tesseral.cluster.execution.interruption import held
from tesseral.cluster.execution.probe import Sample
from tesseral.cluster.execution.worker import Job, Runner, StoppedAtRung, run_trial
from tesseral.study.configuration.trial import State
from tesseral.study.design.study_file import Resources


@dataclass(frozen=True)
class Tally:
    """What is known now of a study's trials."""

    study: str
    trials: int
    """Of the whole study, as far as is known."""
    ended: Mapping[State, int]
    """How trials ended → their number, whichever run ended them."""
    seconds: Sequence[tuple[str, float]]
    """Arm and seconds of training of each trial that this run ended, in order."""


class Work(Protocol):
    """What an executor is given. Any call may raise; the executor then stops its jobs and raises the error again."""

    resources: Resources
    """What each job may use."""
    sample: Sample
    """The trials that are expected to take most memory, where `resources` leaves that to be measured."""

    def suggest(self, waiting: int = 0) -> Job | None:
        """The next job; None if there is none now. `done` tells whether there may be one later.

        :param waiting: number of jobs that were handed out and wait for room. They are what a cluster grows for.
        """

    @property
    def done(self) -> bool:
        """Whether no job is left and no running job can lead to another."""

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done.

        :param trial: the trial's id.
        :param step: optimizer steps done.
        """

    def judge(self, trial: str, epoch: int, value: float) -> bool:
        """Whether the trial is to be stopped at this rung. Its worker waits for the answer.

        :param trial: the trial's id.
        :param epoch: epochs that are done at this rung.
        :param value: what the search minimises, measured at this epoch; lower is better.
        :returns: True stops the trial, which then counts as pruned; False lets it train on.
        """

    def read(self, trial: str) -> None:
        """Read the records of a trial whose job has ended, so that `ended` need not wait. Any thread may call this.

        :param trial: the trial's id.
        """

    def ended(self, trial: str) -> None:
        """The trial's job has ended, or was stopped as `judge` decided. Its records say how.

        :param trial: the trial's id.
        """

    def lost(self, trial: str, reason: str) -> None:
        """The trial's job was given up without an outcome. The next start continues it.

        :param trial: the trial's id.
        :param reason: why, in one sentence.
        """

    def kept(self, trial: str) -> int:
        """Step of the trial's last checkpoint; 0 if it has none.

        :param trial: the trial's id.
        """

    def say(self, sentence: str) -> None:
        """Tell whoever watches.

        :param sentence: about the machines, such as a node that is lost.
        """

    def tally(self) -> Tally:
        """What is known now of the study's trials. Any thread may ask."""


class Executor(Protocol):
    """Runs jobs to their end, as many at a time as it can. A job whose worker is lost is run again.

    An error around a trial, such as a missing device or storage, may be raised or reported as `Work.lost`.
    """

    def run(self, work: Work) -> None:
        """Return when the work is done.

        :param work: hands out the jobs and takes their ends.
        :raises Exception: what the work raised first.
        """


class InlineExecutor:
    """Runs one job after another in this process: for debugging, and for machines without Ray.

    A signal ends a trial with a checkpoint at the end of its epoch.

    :param runner: does the job; a stand-in can replace it in benchmarks.
    """

    def __init__(self, runner: Runner = run_trial) -> None:
        self._runner = runner

    def run(self, work: Work) -> None:
        """Run the work to its end.

        :param work: hands out the jobs and takes their ends.
        :raises Exception: what the work or a trial's surroundings raised first, such as a missing device.
        """
        with held() as obey:
            while (job := work.suggest()) is not None:
                try:
                    with threads(job.cpus):
                        self._runner(job, *_reports(job, work, obey))
                except StoppedAtRung:
                    pass
                work.ended(job.trial)
                obey()


def _reports(
    job: Job, work: Work, obey: Callable[[], None]
) -> tuple[Callable[[int, int], None], Callable[[int, float], None]]:
    """The callbacks of a worker: after an epoch, and at a rung.

    :param obey: raises what a signal asks for.
    """

    def progress(step: int, steps: int) -> None:
        work.progress(job.trial, step)
        obey()

    def rung(epoch: int, value: float) -> None:
        if work.judge(job.trial, epoch, value):
            raise StoppedAtRung

    return progress, rung


class threads:  # noqa: N801 - reads as a statement, like torch.no_grad
    """Set torch's threads to the CPUs of a trial, because the last bits of a sum depend on their number."""

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus

    def __enter__(self) -> None:
        import torch  # here: a driver that only hands out work saves its 250 MB

        self._before = torch.get_num_threads()
        torch.set_num_threads(self.cpus)

    def __exit__(self, *_: object) -> None:
        import torch

        torch.set_num_threads(self._before)
