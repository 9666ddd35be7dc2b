"""The Ray Tune executor: trials as Tune trials on this machine's cores, or on the cluster that RAY_ADDRESS names.

Tune schedules and restarts; it decides nothing that the records hold. A Searcher hands out the work and a
TrialScheduler asks it about every rung. Each start has a fresh Tuner, so nothing rests on Tune's own recovery.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from tesseral.cluster.execution.executor import Work, threads
from tesseral.cluster.execution.ray_session import LOCAL, ray, session, tune
from tesseral.cluster.execution.worker import Job, Runner, run_trial
from tesseral.study.errors import DeviceLostError, StoreError, StudyFileError, TesseralError
from tesseral.study.records.store import STORE_ERRORS

RESTARTS = 1000
"""Times that Tune starts a lost trial again; its records say sooner when it gets no further."""
STORE_TRIALS = 3
"""Times that a worker goes on with a trial whose storage failed, with a pause in between."""
REPORT_EVERY = 0.5
"""Seconds between a trial's reports of progress to Tune."""


class RayTune:
    """Runs work as Ray Tune trials. See `tesseral.cluster.execution.executor.Executor`.

    :param runner: what a job's worker does.
    """

    def __init__(self, runner: Runner = run_trial) -> None:
        self._runner = runner

    def run(self, work: Work) -> None:
        """Start or join Ray, run the work, and end what was started."""
        if work.done:
            return
        # Tune's own state, which nothing reads, would be rewritten whole every few seconds: 10 kB for each trial.
        os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = str(10**9)
        with session(), _scratch() as folder:
            resources = {"cpu": work.cpus, "gpu": work.gpus}
            faults: list[BaseException] = []
            tuner = tune.Tuner(
                tune.with_resources(_trainable(self._runner), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_Suggestions(work, faults),
                    scheduler=_Rungs(work, faults),
                    num_samples=-1,
                    max_concurrent_trials=_concurrent(resources),
                    reuse_actors=True,  # a new worker process imports torch and e3nn: seconds a trial
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=folder,
                    verbose=0,
                    callbacks=[_News(work, faults)],
                    stop=_Halt(faults),
                    failure_config=tune.FailureConfig(max_failures=RESTARTS),
                ),
            )
            tuner.fit()
        if faults:
            raise faults[0]


def _trainable(runner: Runner) -> Callable[[dict[str, Any]], None]:
    def trial(config: dict[str, Any]) -> None:
        job = Job(**config["job"])
        if job.gpus == 0 and job.device == "auto":
            job = replace(job, device="cpu")  # a GPU that was not asked for is another trial's
        last, done = 0.0, 0

        def progress(step: int, steps: int) -> None:
            nonlocal last, done
            done = step
            if step < steps and time.monotonic() - last >= REPORT_EVERY:
                last = time.monotonic()
                tune.report({"trial": job.trial, "step": step})

        def rung(epoch: int, value: float) -> None:
            # Returns once the scheduler has judged; if the trial is to stop, Tune ends this thread here.
            tune.report({"trial": job.trial, "step": done, "epoch": epoch, "value": value})

        reason = ""
        with threads(job.cpus):
            try:
                _patiently(lambda: runner(job, progress, rung))
            except DeviceLostError:
                os._exit(1)  # Tune starts the trial again in a new process, which finds it finished or goes on
            except (TesseralError, StoreError, *STORE_ERRORS) as error:
                reason = str(error).strip().splitlines()[0]
        tune.report({"trial": job.trial} | ({"step": done, "lost": reason} if reason else {"step": job.steps}))

    return trial


def _patiently(run: Callable[[], Any]) -> None:
    """Run, and again from the last checkpoint if the storage failed for a moment."""
    for pause in [2.0**n for n in range(STORE_TRIALS - 1)]:
        try:
            run()
        except StoreError:
            time.sleep(pause)
        else:
            return
    run()


class _Told:
    """What the work raises stops the tuner, and is raised again once it has stopped: Tune would wrap or lose it."""

    def __init__(self, work: Work, faults: list[BaseException]) -> None:
        self.work, self.faults = work, faults

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it is given for a recovery of its own, which is never used

    def tell(self, call: Callable[..., Any], *news: Any) -> Any:
        try:
            return call(*news)
        except Exception as error:  # noqa: BLE001
            self.faults.append(error)
            return None


class _Suggestions(_Told, tune.search.Searcher):
    """Hands out the work."""

    def __init__(self, work: Work, faults: list[BaseException]) -> None:
        _Told.__init__(self, work, faults)
        tune.search.Searcher.__init__(self, metric="step", mode="max")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        job = None if self.faults else self.tell(self.work.suggest)
        if job is not None:
            return {"job": asdict(job)}
        done = self.faults or self.tell(lambda: self.work.done)
        return self.FINISHED if done or self.faults else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: the records hold the outcome."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a restart asks the records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Rungs(_Told, tune.schedulers.FIFOScheduler):
    """Asks the work about every rung."""

    def __init__(self, work: Work, faults: list[BaseException]) -> None:
        _Told.__init__(self, work, faults)
        tune.schedulers.FIFOScheduler.__init__(self)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP if the work says so."""
        if "epoch" not in result or self.faults:
            return str(self.CONTINUE)
        stop = self.tell(self.work.judge, result["trial"], result["epoch"], result["value"])
        return str(self.STOP if stop else self.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that waits; Tune's own looks through all trials that ever were."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status in ("PENDING", "PAUSED")]
        return min(waiting, key=lambda trial: trial.trial_id, default=None)


class _News(_Told, tune.Callback):
    """Tells the work how its jobs get on."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self.tell(self.work.progress, result["trial"], result["step"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        name, reason = trial.config["job"]["trial"], (trial.last_result or {}).get("lost")
        if reason:
            self.tell(self.work.lost, name, reason)
        else:
            self.tell(self.work.ended, name)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = trial.get_error()
        reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1:]
        self.tell(self.work.lost, trial.config["job"]["trial"], "".join(reason) or "its worker was lost")


class _Halt(tune.Stopper):
    """Stops all trials once there is something to raise."""

    def __init__(self, faults: list[BaseException]) -> None:
        self._faults = faults

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self._faults)


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
