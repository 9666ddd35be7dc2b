"""The Ray Tune executor: runs trials on this machine's cores, or on the cluster that RAY_ADDRESS names.

Tune schedules trials and restarts them; every decision is made by the work and lies in the records. A Searcher hands
out the jobs, a TrialScheduler has every rung judged, and a Callback reports progress. Each start makes a new Tuner, so
nothing depends on Tune's own recovery.
"""

import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from tesseral.cluster.execution.executor import Work, threads
from tesseral.cluster.execution.interruption import KEEP_WITHIN
from tesseral.cluster.execution.ray_session import LOCAL, answered, internal_kv, ray, session, tune
from tesseral.cluster.execution.worker import Job, Runner, run_trial
from tesseral.study.errors import DeviceLostError, StoreError, StudyFileError, TesseralError

RESTARTS = 1000
"""How often Tune restarts a lost trial. In practice its records fail a trial that makes no progress long before."""
STORE_TRIALS = 3
"""How often a worker tries a trial whose storage fails, with pauses in between."""
REPORT_EVERY = 0.5
"""Seconds between a trial's progress reports to Tune."""
LEAVING = b"tesseral-leaving-"
"""Key in Ray's head, followed by the job's id, by which the driver asks its trials to keep their state and end."""


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
            calls = _Calls(work)
            tuner = tune.Tuner(
                tune.with_resources(_trainable(self._runner), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_JobSearcher(calls),
                    scheduler=_RungScheduler(calls),
                    num_samples=-1,  # without end: the searcher says when it has no more jobs
                    max_concurrent_trials=_concurrent(resources),
                    reuse_actors=True,  # a new worker process imports torch and e3nn, which takes seconds
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=folder,
                    verbose=0,
                    callbacks=[_Reporter(calls)],
                    stop=_StopOnFault(calls),
                    failure_config=tune.FailureConfig(max_failures=RESTARTS),
                ),
            )
            answered(tuner.fit, calls.leave)
        if calls.faults:
            raise calls.faults[0]


def _trainable(runner: Runner) -> Callable[[dict[str, Any]], None]:
    def trial(config: dict[str, Any]) -> None:
        job = Job(**config["job"])
        if job.gpus == 0 and job.device == "auto":
            job = replace(job, device="cpu")  # a GPU that this job did not ask for belongs to another trial
        last, done = 0.0, 0
        said = _overheard()

        def progress(step: int, steps: int) -> None:
            nonlocal last, done
            done = step
            if step < steps and time.monotonic() - last >= REPORT_EVERY:
                last = time.monotonic()
                if _leaving():
                    raise KeyboardInterrupt
                tune.report({"trial": job.trial, "step": step, "said": _taken(said)})

        def rung(epoch: int, value: float) -> None:
            # Returns once the scheduler has judged. If the trial is to stop, Tune ends this thread here.
            tune.report({"trial": job.trial, "step": done, "epoch": epoch, "value": value})

        reason = ""
        with threads(job.cpus):
            try:
                _with_retries(lambda: runner(job, progress, rung))
            except DeviceLostError:
                os._exit(1)  # Tune restarts the trial in a new process, which finds it finished or continues it
            except KeyboardInterrupt:
                reason = "its driver was interrupted"
            except (TesseralError, StoreError) as error:
                reason = str(error).strip().splitlines()[0]
        end = {"step": done, "lost": reason} if reason else {"step": job.steps}
        tune.report({"trial": job.trial, "said": _taken(said)} | end)

    return trial


def _overheard() -> list[str]:
    """The warnings of this package from now on, in this process: its output is in a log that nobody reads."""
    said: list[str] = []

    def keep(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning) and f"{os.sep}tesseral{os.sep}" in filename:
            said.append(str(message))

    warnings.showwarning = keep
    return said


def _taken(said: list[str]) -> str:
    """What was said since the last report, a sentence a line."""
    lines = "\n".join(said)
    said.clear()
    return lines


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


def _leaving() -> bool:
    """Whether the driver has asked the running trials to keep their state and end."""
    return bool(internal_kv._internal_kv_exists(LEAVING + ray.get_runtime_context().get_job_id().encode()))


class _Calls:
    """Calls the work from inside Tune, one call at a time, and keeps what it raises first.

    Tune would wrap or lose an exception. It is therefore kept, stops the tuner (`_StopOnFault`), and is raised again
    by `RayExecutor.run`. From then on the work is not called: its lease may be gone.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.faults: list[BaseException] = []
        self.running: set[str] = set()
        """Ids of the trials that were handed out and have not ended."""
        self.leaving = False
        """Whether no further trial is handed out."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts for a recovery that is never used

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            if self.faults:
                return None
            try:
                return function(*arguments)
            except Exception as error:  # noqa: BLE001
                self.faults.append(error)
                return None

    def leave(self, reason: BaseException) -> None:
        """Let the running trials keep their state, if Ray answers, and end the tuner."""
        self.leaving = True
        if isinstance(reason, KeyboardInterrupt):
            internal_kv._internal_kv_put(LEAVING + ray.get_runtime_context().get_job_id().encode(), b"1")
            end = time.monotonic() + KEEP_WITHIN
            while self.running and not self.faults and time.monotonic() < end:
                time.sleep(0.05)
        self.faults.append(reason)  # without the lock: a call may wait for a silent storage


class _Caller:
    """A part of Tune that calls the work."""

    def __init__(self, calls: _Calls) -> None:
        self.calls, self.work = calls, calls.work

    def __getstate__(self) -> dict[str, Any]:
        return {}

    @property
    def faults(self) -> list[BaseException]:
        return self.calls.faults

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.calls.call(function, *arguments)


class _JobSearcher(_Caller, tune.search.Searcher):
    """Hands out the jobs."""

    def __init__(self, calls: _Calls) -> None:
        _Caller.__init__(self, calls)
        tune.search.Searcher.__init__(self, metric="step", mode="max")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.calls.leaving:
            return self.FINISHED
        job = self.call(self.work.suggest)
        if job is not None:
            self.calls.running.add(job.trial)
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

    def __init__(self, calls: _Calls) -> None:
        _Caller.__init__(self, calls)
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
        for sentence in result.get("said", "").splitlines():
            warnings.warn(sentence, stacklevel=1)
        self.call(self.work.progress, result["trial"], result["step"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        name, reason = trial.config["job"]["trial"], (trial.last_result or {}).get("lost")
        if reason:
            self.call(self.work.lost, name, reason)
        else:
            self.call(self.work.ended, name)
        self.calls.running.discard(name)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = trial.get_error()
        reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1:]
        self.call(self.work.lost, trial.config["job"]["trial"], "".join(reason) or "its worker was lost")
        self.calls.running.discard(trial.config["job"]["trial"])


class _StopOnFault(tune.Stopper):
    """Stops all trials once the work has raised an exception."""

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self._calls.faults)


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
