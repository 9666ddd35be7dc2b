"""The Ray Tune executor: runs trials on this machine's cores, or on the cluster that RAY_ADDRESS names.

Tune schedules trials; every decision is made by the work and lies in the records. A Searcher hands
out the jobs, a TrialScheduler has every rung judged, and a Callback reports progress. Each start makes a new Tuner, so
nothing depends on Tune's own recovery.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tesseral.cluster.execution.executor import Work
from tesseral.cluster.execution.handed_job import HandedJob
from tesseral.cluster.execution.probe import Sample, measure_usage
from tesseral.cluster.execution.ray_metrics import exported
from tesseral.cluster.execution.ray_trial import trainable
from tesseral.cluster.execution.tune_calls import Calls, node_of
from tesseral.cluster.execution.worker import Runner, run_trial
from tesseral.cluster.nodes.needs import GB, Needs, describe
from tesseral.cluster.nodes.packing import Usage, pack
from tesseral.cluster.nodes.ray_check import Checked, check_nodes
from tesseral.cluster.nodes.ray_room import check_room, node_types, nodes, probe, too_small, unused_gpus
from tesseral.cluster.nodes.ray_session import LOCAL, answered, ray, session, tune
from tesseral.study.design.study_file import Resources

PENDING = 100
"""Most trials that wait for room on a cluster, where they are the demand for which it grows."""


class RayExecutor:
    """An `Executor` that runs jobs as Ray Tune trials.

    :param runner: does the job; a stand-in can replace it in benchmarks.
    :param measure: measures what the largest trials use, in a process of its own; a stand-in can replace it in tests.
    """

    def __init__(self, runner: Runner = run_trial, measure: Callable[[Sample, bool], Usage] = measure_usage) -> None:
        self._runner, self._measure = runner, measure

    def run(self, work: Work) -> None:
        """Start or join Ray, run the work to its end, and shut down what was started.

        :param work: hands out the jobs and takes their ends. Without any left, Ray is not started.
        :raises StudyFileError: if this machine has less than one trial needs.
        :raises ClusterError: if no node of the cluster can ever run a trial.
        :raises Exception: what the work raised first. Running trials are stopped; the next start continues them.
        """
        if work.done:
            return
        # Tune would rewrite its whole state, 10 kB per trial, every few seconds, and nothing reads it.
        os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = str(10**9)
        with session(), _scratch() as folder:
            needs, checked = self._needs(work)
            for sentence in (unused_gpus(needs.gpus, work.resources.device), too_small(needs)):
                if sentence:
                    work.say(sentence)
            most = _most(needs, work.resources.max_concurrent)
            calls = Calls(work, needs, shared=needs.shares and most != 1)
            for node, why in checked.unfit.items():
                calls.nodes.refuse(checked.addresses[node], why)
            if not LOCAL:
                os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(PENDING, most or PENDING))
            tuner = tune.Tuner(
                tune.with_resources(trainable(self._runner), _placement),
                tune_config=tune.TuneConfig(
                    search_alg=_JobSearcher(calls),
                    scheduler=_RungScheduler(calls),
                    num_samples=-1,  # without end: the searcher says when it has no more jobs
                    max_concurrent_trials=most,
                    reuse_actors=True,  # a new worker process imports torch and e3nn, which takes seconds
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=folder,
                    verbose=0,
                    callbacks=[_Reporter(calls)],
                    stop=_StopOnFault(calls),
                    failure_config=tune.FailureConfig(max_failures=0),  # a lost trial is handed out again
                ),
            )
            with exported(work, needs.gpus, lambda: len(calls.running) - len(calls.waiting)):
                try:
                    answered(partial(_to_the_end, tuner.fit, work), calls.leave)
                finally:
                    calls.threads.shutdown(wait=False, cancel_futures=True)
            calls.nodes.settle(last=True)
        if calls.faults:
            raise calls.faults[0]

    def _needs(self, work: Work) -> tuple[Needs, Checked]:
        """What each trial reserves, once there is room for it, and what nodes lack."""
        resources = work.resources
        auto = "auto" in (resources.gpus, resources.memory)
        needs = _unmeasured(resources) if auto else pack(resources)
        check_room(needs)
        checked = _check(work, needs)
        if auto:
            usage = probe(needs, partial(self._measure, work.sample, needs.gpus > 0), checked.unfit.keys())
            needs = pack(resources, usage)
            check_room(needs)
            work.say(_packed(needs, usage))
        return needs, checked


def _unmeasured(resources: Resources) -> Needs:
    """What the process reserves that measures a trial's memory."""
    gpu = bool(resources.gpus) and resources.device != "cpu"
    if resources.gpus == "auto":
        offers = [node["Resources"] for node in nodes()] + node_types()
        gpu = gpu and any(offer.get("GPU") for offer in offers)
    return Needs(resources.cpus, float(gpu), custom=resources.custom)


def _to_the_end(fit: Callable[[], Any], work: Work) -> None:
    """Have Tune run to its end, where it asks for the working folder. That of a job may have gone: nothing is lost.

    :raises FileNotFoundError: if work is left.
    """
    try:
        fit()
    except _OverError:
        pass  # caught here, so that nothing of Tune outlives Ray in its traceback
    except FileNotFoundError:
        if not work.done:
            raise


class _OverError(Exception):
    """All work is done. Raised inside of Tune, which would write the state of all trials, and look for their files.

    After 10,000 trials that took half a minute and 0.2 GB, and nothing reads it.
    """


def _check(work: Work, needs: Needs) -> Checked:
    """What nodes lack on which a trial would have room."""
    defines = [configuration.network.define for configuration in work.sample.configurations]
    modules = dict.fromkeys(define.partition(":")[0] for define in defines if define is not None)
    return check_nodes(work.sample.storage, tuple(modules), work.sample.folder, needs.fits)


def _packed(needs: Needs, usage: Usage) -> str:
    """What was measured and what follows, in words."""
    took = f"{usage.resident / GB:.1f} GB of memory"
    if usage.gpu_size:
        took += f" and {(usage.gpu + usage.context) / GB:.1f} of {usage.gpu_size / GB:.0f} GB of its GPU"
    return f"a few steps of the largest arm took {took}: each trial reserves {describe(needs.bundle)}"


def _placement(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Where a trial may run and what it reserves."""
    handed = HandedJob.read(config)
    selector = {"bundle_label_selector": [handed.where]} if handed.where else {}
    return tune.PlacementGroupFactory([handed.bundle], **selector)


class _Caller:
    """A part of Tune that calls the work."""

    def __init__(self, calls: Calls) -> None:
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

    def __init__(self, calls: Calls) -> None:
        _Caller.__init__(self, calls)
        tune.search.Searcher.__init__(self, metric="step", mode="max")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.calls.leaving:
            return self.FINISHED
        job = self.calls.next()
        if job is not None:
            self.calls.running.add(job.trial)
            self.calls.waiting.add(job.trial)
            return self.calls.handed(job).config
        self.calls.over = bool(self.call(lambda: self.work.done)) and not self.faults
        return self.FINISHED if self.calls.over or self.faults else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: the records hold the outcome."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a restart asks the records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _RungScheduler(_Caller, tune.schedulers.FIFOScheduler):
    """Has every rung judged by the work. Tune pauses the trial's report until the answer is there."""

    def __init__(self, calls: Calls) -> None:
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

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self.calls.take_ends()
        self.calls.heed()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if self.calls.over:
            raise _OverError

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        for sentence in result.get("said", "").splitlines():
            warnings.warn(sentence, stacklevel=1)
        self.call(self.work.progress, result["trial"], result["step"])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        name = HandedJob.read(trial.config).trial
        self.calls.waiting.discard(name)
        self.calls.actors[name] = trial.temporary_state.ray_actor._actor_id.hex()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        _forget_statistics(trial)
        calls, job, last = self.calls, HandedJob.read(trial.config).job, trial.last_result or {}
        actor = calls.actors.pop(job.trial, "")
        if reason := last.get("crowded"):
            calls.alone(job, reason)
            return
        if last.get("cut"):
            calls.running.discard(job.trial)
            calls.again.append(job)
            return
        if reason := last.get("unfit"):
            if not LOCAL and calls.nodes.unfit(job.trial, node_of(actor), reason, last.get("certain", False)):
                calls.again.append(job)
                return
            self.call(self.work.lost, job.trial, reason)
        elif reason := last.get("lost"):
            self.call(self.work.lost, job.trial, reason)
        else:
            if calls.nodes.troubled:
                calls.nodes.ended(node_of(actor))
            calls.read(job.trial)
            return
        calls.running.discard(job.trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        _forget_statistics(trial)
        job = HandedJob.read(trial.config).job
        self.calls.waiting.discard(job.trial)
        self.calls.lost(job, trial.get_error())


def _forget_statistics(trial: Any) -> None:
    """Forget what Tune has computed of the numbers in a trial's reports: 18 kB, which nothing reads."""
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()


class _StopOnFault(tune.Stopper):
    """Stops all trials once the work has raised an exception."""

    def __init__(self, calls: Calls) -> None:
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


def _most(needs: Needs, asked: int | None) -> int | None:
    """How many trials run at once at most; None on a cluster without such a limit, which may grow with the queue."""
    if not LOCAL:
        return asked
    fit = needs.many(ray.cluster_resources())
    return fit if asked is None else min(asked, fit)
