"""The Ray Tune executor: trials as Tune trials on this machine's cores, or on the cluster that RAY_ADDRESS names.

Tune schedules and restarts; it decides nothing that the records hold. Each start has a fresh Tuner over the jobs
that are left, so nothing rests on Tune's own recovery.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from tesseral.cluster.executor import Watch, threads
from tesseral.cluster.ray_session import LOCAL, ray, session, tune
from tesseral.cluster.worker import Job, run_trial
from tesseral.study.errors import StudyFileError

WORKER_LOSSES = 3
"""Times that a trial whose worker was lost is started again."""
REPORT_EVERY = 0.5
"""Seconds between a trial's reports of progress to Tune."""


class RayTune:
    """Runs jobs as Ray Tune trials. See `tesseral.cluster.executor.Executor`."""

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Start or join Ray, run the jobs, and end what was started."""
        if not jobs:
            return
        with session(), _scratch() as folder:
            resources = {"cpu": jobs[0].cpus, "gpu": jobs[0].gpus}
            telltale = _Telltale(watch)
            tuner = tune.Tuner(
                tune.with_resources(_trainable, resources),
                tune_config=tune.TuneConfig(
                    search_alg=_Queue(jobs),
                    num_samples=-1,
                    max_concurrent_trials=_concurrent(resources),
                    reuse_actors=True,  # a new worker process imports torch and e3nn: seconds a trial
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=folder,
                    verbose=0,
                    callbacks=[telltale],
                    stop=_Halt(telltale),
                    failure_config=tune.FailureConfig(max_failures=WORKER_LOSSES),
                ),
            )
            tuner.fit()
        if telltale.raised:
            raise telltale.raised[0]


def _trainable(config: dict[str, Any]) -> None:
    job = Job(**config["job"])
    if job.gpus == 0 and job.device == "auto":
        job = replace(job, device="cpu")  # a GPU that was not asked for is another trial's
    last = 0.0

    def report(step: int, steps: int) -> None:
        nonlocal last
        if step < steps and time.monotonic() - last >= REPORT_EVERY:
            last = time.monotonic()
            tune.report({"trial": job.trial, "step": step})

    with threads(job.cpus):
        run_trial(job, report)
    tune.report({"trial": job.trial, "step": job.steps})


class _Queue(tune.search.Searcher):
    """A searcher that proposes the jobs that are left, in their order."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(metric="step", mode="max")
        self._jobs = list(jobs)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return {"job": asdict(self._jobs.pop(0))} if self._jobs else self.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: the records hold the outcome."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a restart makes its queue from the records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Telltale(tune.Callback):
    """Tells the watch. What the watch raises stops the tuner, and is raised again once it has stopped."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.raised: list[BaseException] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a recovery of its own, which is never used

    def _tell(self, tell: Callable[..., None], *news: Any) -> None:
        try:
            tell(*news)
        except Exception as error:  # noqa: BLE001 - Tune would wrap it in errors of its own
            self.raised.append(error)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self._tell(self._watch.progress, result["trial"], result["step"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._tell(self._watch.ended, trial.config["job"]["trial"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = trial.get_error()
        reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1:]
        self._tell(self._watch.lost, trial.config["job"]["trial"], "".join(reason) or "its worker was lost")


class _Halt(tune.Stopper):
    """Stops all trials once the telltale has something to raise."""

    def __init__(self, telltale: _Telltale) -> None:
        self._telltale = telltale

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self._telltale.raised)


@contextmanager
def _scratch() -> Iterator[str]:
    """A folder for Tune's own state, which nothing reads again."""
    folder = tempfile.mkdtemp(prefix="tesseral-tune-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _concurrent(resources: dict[str, float]) -> int | None:
    """How many trials fit on this machine; None on a cluster, which may grow with what waits.

    :raises StudyFileError: if not one fits on this machine.
    """
    if not LOCAL:
        return None
    have = ray.cluster_resources()
    asked = {name: need for name, need in resources.items() if need > 0}
    for name, need in asked.items():
        if (there := have.get(name.upper(), 0)) < need:
            raise StudyFileError(f"resources.{name}s", f"expected at most {there:g}, which are here, got {need:g}")
    return min(int(have[name.upper()] / need) for name, need in asked.items())
