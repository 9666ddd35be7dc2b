"""The study's own metrics, which Prometheus reads from the nodes of a Ray cluster, where `ray_` precedes their names.

They are for watching alone: the records hold the same and more. Where Ray is local nobody reads them, and none is set.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tesseral.cluster.execution.executor import Tally, Work
from tesseral.cluster.nodes.ray_session import LOCAL, metrics
from tesseral.study.configuration.trial import State

TRIALS = "tesseral_trials"
"""Gauge: number of trials, by study and state."""
TRIAL_SECONDS = "tesseral_trial_seconds"
"""Histogram: seconds of training of a trial that has ended, by study and arm."""
GPUS = "tesseral_gpus_reserved"
"""Gauge: GPUs that running trials have reserved, by study; fractions add up."""
BOUNDARIES = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5]
"""Bounds of the histogram, s."""
EVERY = 10.0
"""Seconds between two looks at the study. Ray hands metrics on as often."""


class StudyMetrics:
    """Sets the metrics to what is known of a study. Ray must have been joined.

    :param gpus: GPUs of a trial.
    """

    def __init__(self, gpus: float) -> None:
        self._gpus = gpus
        self._trials = metrics.Gauge(TRIALS, "trials of a study", ("study", "state"))
        self._reserved = metrics.Gauge(GPUS, "GPUs that running trials have reserved", ("study",))
        self._seconds = metrics.Histogram(TRIAL_SECONDS, "training of a trial, s", BOUNDARIES, ("study", "arm"))
        self._seen = 0

    def show(self, tally: Tally, running: int) -> None:
        """Set the metrics.

        :param tally: of the study.
        :param running: number of trials that run now.
        """
        planned = max(tally.trials - sum(tally.ended.values()) - running, 0)
        numbers = {State.PLANNED: planned, State.RUNNING: running}
        for state in State:
            number = numbers.get(state, tally.ended.get(state, 0))
            self._trials.set(number, {"study": tally.study, "state": state.value})
        self._reserved.set(running * self._gpus, {"study": tally.study})
        for arm, seconds in tally.seconds[self._seen :]:
            self._seconds.observe(seconds, {"study": tally.study, "arm": arm})
        self._seen = len(tally.seconds)


@contextmanager
def exported(work: Work, gpus: float, running: Callable[[], int]) -> Iterator[None]:
    """Export the metrics of a study for a block of code, in which Ray is joined. Nothing happens where Ray is local.

    :param work: of the study.
    :param gpus: GPUs of a trial.
    :param running: the number of trials that run now.
    """
    if LOCAL:
        yield
        return
    shown, over = StudyMetrics(gpus), threading.Event()

    def show() -> None:
        while not over.wait(EVERY):
            shown.show(work.tally(), running())

    shown.show(work.tally(), running())
    thread = threading.Thread(target=show, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        shown.show(work.tally(), running())
