"""The Ray Tune executor: runs trials on this machine's cores, or on the cluster that RAY_ADDRESS names.

Tune schedules trials and restarts them; every decision is made by the work and lies in the records. A Searcher hands
out the jobs, a TrialScheduler has every rung judged, and a Callback reports progress. Each start makes a new Tuner, so
nothing depends on Tune's own recovery.
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

RESTARTS = 1000
"""How often Tune restarts a lost trial. In practice its records fail a trial that makes no progress long before."""
STORE_TRIALS = 3
"""How often a worker tries a trial whose storage fails, with pauses in between."""
REPORT_EVERY = 0.5
"""Seconds between a trial's progress reports to Tune."""


class RayExecutor:
    """An `Executor` that runs jobs as Ray Tune trials.

    :param runner: does the job; a stand-in can replace it in benchmarks.
    """

    def __init__(self, runner: Runner = run_trial) -> None:
        self._runner = runner

    def run(self, work: Work) -> None:
        """Start or join Ray, run the work to its end, and shut down what was started.

        :param work: hands out the jobs and takes their ends. Without any left, Ray is not started.
        :raises StudyFileError: if this machine has fewer CPU cores or GPUs than one trial needs.
        :raises Exception: what the work raised first. Running trials are stopped; the next start continues them.
        """
        if work.done:
            return
        # Tune would rewrite its whole state, 10 kB per trial, every few seconds, and nothing reads it.
        os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = str(10**9)
        with session(), _scratch() as folder:
            resources = {"cpu": work.cpus, "gpu": work.gpus}
            faults: list[BaseException] = []
            tuner = tune.Tuner(
                tune.with_resources(_trainable(self._runner), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_JobSearcher(work, faults),
                    scheduler=_RungScheduler(work, faults),
                    num_samples=-1,  # without end: the searcher says when it has no more jobs
                    max_concurrent_trials=_concurrent(resources),
                    reuse_actors=True,  # a new worker process imports torch and e3nn, which takes seconds
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=folder,
                    verbose=0,
                    callbacks=[_Reporter(work, faults)],
                    stop=_StopOnFault(faults),
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
            job = replace(job, device="cpu")  # a GPU that this job did not ask for belongs to another trial
        last, done = 0.0, 0

        def progress(step: int, steps: int) -> None:
            nonlocal last, done
            done = step
            if step < steps and time.monotonic() - last >= REPORT_EVERY:
                last = time.monotonic()
                tune.report({"trial": job.trial, "step": step})

        def rung(epoch: int, value: float) -> None:
            # Returns once the scheduler has judged. If the trial is to stop, Tune ends this thread here.
            tune.report({"trial": job.trial, "step": done, "epoch": epoch, "value": value})

        reason = ""
        with threads(job.cpus):
            try:
                _with_retries(lambda: runner(job, progress, rung))
            except DeviceLostError:
                os._exit(1)  # Tune restarts the trial in a new process, which finds it finished or continues it
            except (TesseralError, StoreError) as error:
                reason = str(error).strip().splitlines()[0]
        tune.report({"trial": job.trial} | ({"step": done, "lost": reason} if reason else {"step": job.steps}))

    return trial


def _with_retries(run: Callable[[], Any]) -> None:
    """Run, and run again from the last checkpoint if the storage failed for a moment."""
    for pause in [2.0**n for n in range(STORE_TRIALS - 1)]:
        try:
            run()
        except StoreError:
            time.sleep(pause)
        else:
            return
    run()


class _Caller:
    """Calls the work from inside Tune, and keeps what it raises.

    Tune would wrap or lose an exception. It is therefore kept, stops the tuner (`_StopOnFault`), and is raised again
    by `RayExecutor.run`.
    """

    def __init__(self, work: Work, faults: list[BaseException]) -> None:
        self.work, self.faults = work, faults

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts for a recovery that is never used

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:  # noqa: BLE001
            self.faults.append(error)
            return None


class _JobSearcher(_Caller, tune.search.Searcher):
    """Hands out the jobs."""

    def __init__(self, work: Work, faults: list[BaseException]) -> None:
        _Caller.__init__(self, work, faults)
        tune.search.Searcher.__init__(self, metric="step", mode="max")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        job = None if self.faults else self.call(self.work.suggest)
        if job is not None:
            return {"job": asdict(job)}
        done = self.faults or self.call(lambda: self.work.done)
        return self.FINISHED if done or self.faults else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: the records hold the outcome."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a restart asks the records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _RungScheduler(_Caller, tune.schedulers.FIFOScheduler):
    """Has every rung judged by the work. Tune pauses the trial's report until the answer is there."""

    def __init__(self, work: Work, faults: list[BaseException]) -> None:
        _Caller.__init__(self, work, faults)
        tune.schedulers.FIFOScheduler.__init__(self)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP if the work decides so."""
        if "epoch" not in result or self.faults:
            return str(self.CONTINUE)
        stop = self.call(self.work.judge, result["trial"], result["epoch"], result["value"])
        return str(self.STOP if stop else self.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that waits. Tune's own choice looks through all trials so far, which gets slow."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status in ("PENDING", "PAUSED")]
        return min(waiting, key=lambda trial: trial.trial_id, default=None)


class _Reporter(_Caller, tune.Callback):
    """Reports the progress and the ends of jobs to the work."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self.call(self.work.progress, result["trial"], result["step"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        name, reason = trial.config["job"]["trial"], (trial.last_result or {}).get("lost")
        if reason:
            self.call(self.work.lost, name, reason)
        else:
            self.call(self.work.ended, name)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = trial.get_error()
        reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1:]
        self.call(self.work.lost, trial.config["job"]["trial"], "".join(reason) or "its worker was lost")


class _StopOnFault(tune.Stopper):
    """Stops all trials once the work has raised an exception."""

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
    """A temporary folder for Tune's own state, which nothing reads again."""
    folder = tempfile.mkdtemp(prefix="tesseral-tune-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _concurrent(resources: dict[str, float]) -> int | None:
    """How many trials fit on this machine; None on a cluster, which may grow with the queue.

    :raises StudyFileError: if this machine is too small for one.
    """
    if not LOCAL:
        return None
    have = ray.cluster_resources()
    needed = {name: need for name, need in resources.items() if need > 0}
    for name, need in needed.items():
        if (there := have.get(name.upper(), 0)) < need:
            raise StudyFileError(
                f"resources.{name}s", f"expected at most {there:g}, which this machine has, got {need:g}"
            )
    return min(int(have[name.upper()] / need) for name, need in needed.items())
