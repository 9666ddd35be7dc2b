"""A trial in a worker of Ray: where it runs, what it reports to Tune, and how it ends when its driver asks for it."""

import os
import time
import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from tesseral.cluster.execution.executor import threads
from tesseral.cluster.execution.freed_memory import free_memory
from tesseral.cluster.execution.handed_job import HandedJob
from tesseral.cluster.execution.worker import NeedsRoomError, Runner
from tesseral.cluster.nodes.code import code_hash, other_code
from tesseral.cluster.nodes.provenance import TRAINING, other_packages, versions_of
from tesseral.cluster.nodes.ray_session import here, internal_kv, node_folder, ray, tune
from tesseral.study.errors import DeviceLostError, StoreError, TesseralError

STORE_TRIALS = 3
"""How often a worker tries a trial whose storage fails, with pauses in between."""
REPORT_EVERY = 0.5
"""Seconds between a trial's progress reports to Tune; more beside many trials, see `pause`."""
REPORTS = 100.0
"""Progress reports a second by all trials together: each takes the driver a millisecond."""
LEAVING = b"tesseral-leaving-"
"""Key in Ray's head, followed by the job's id, by which the driver asks its trials to keep their state and end."""
EVERYWHERE = "everywhere"
"""What the key says, where it does not name nodes."""


def pause(beside: int) -> float:
    """Seconds between a trial's progress reports, so that those of all trials leave the driver nine tenths of its core.

    :param beside: trials that run.
    """
    return max(REPORT_EVERY, beside / REPORTS)


def trainable(runner: Runner) -> Callable[[dict[str, Any]], None]:
    """The function that Tune calls in a worker with the configuration of a trial, see `HandedJob`.

    :param runner: does the job.
    """

    def trial(config: dict[str, Any]) -> None:
        handed = HandedJob.read(config)
        why = other_code(code_hash(), handed.code) or other_packages(versions_of(TRAINING), handed.versions)
        if why:
            tune.report({"trial": handed.trial, "unfit": why, "certain": True, "step": 0})
            return
        address, node = here()
        if _asked_to_leave(node) == node:
            tune.report({"trial": handed.trial, "cut": True, "step": 0})
            return
        job = handed.job
        if job.gpus == 0 and job.device == "auto":
            job = replace(job, device="cpu")  # a GPU that this job did not ask for belongs to another trial
        job = replace(job, address=address, node=node, node_folder=node_folder())
        asked, told, done, left = 0.0, 0.0, 0, ""
        said = _overheard()

        def progress(step: int, steps: int) -> None:
            nonlocal asked, told, done, left
            done, now = step, time.monotonic()
            if step >= steps or now - asked < REPORT_EVERY:
                return
            asked = now
            if left := _asked_to_leave(node):
                raise KeyboardInterrupt
            if now - told >= pause(handed.beside):
                told = now
                tune.report({"trial": job.trial, "step": step, "said": _taken(said)})

        def rung(epoch: int, value: float) -> None:
            # Returns once the scheduler has judged. If the trial is to stop, Tune ends this thread here.
            tune.report({"trial": job.trial, "step": done, "epoch": epoch, "value": value})

        end: dict[str, Any] = {"step": job.steps}
        with threads(job.cpus):
            try:
                _with_retries(lambda: runner(job, progress, rung))
            except DeviceLostError:
                os._exit(1)  # the trial is run again in a new process, which finds it finished or continues it
            except NeedsRoomError as error:
                end = {"step": done, "crowded": str(error)}
            except KeyboardInterrupt:
                end = {"step": done} | ({"cut": True} if left == node else {"lost": "its driver was interrupted"})
            except StoreError as error:
                end = {"step": done, "lost": _first_line(error)}
            except TesseralError as error:
                end = {"step": done, "unfit": _first_line(error)}
        free_memory()  # before the end is reported, after which Tune may begin the next trial
        tune.report({"trial": job.trial, "said": _taken(said)} | end)

    return trial


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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


def ask_to_leave(nodes: Collection[str] = ()) -> None:
    """Ask running trials of this driver to keep their state and end.

    :param nodes: ids of the nodes on which they are asked; everywhere without any.
    """
    internal_kv._internal_kv_put(_key(), ",".join(nodes) or EVERYWHERE)


def _asked_to_leave(node: str) -> str:
    """Where this driver's trials are asked to leave, if that is here: this node, or `EVERYWHERE`. Empty if it is not.

    :param node: id of this node.
    """
    try:
        told = internal_kv._internal_kv_get(_key())
    except Exception:  # noqa: BLE001 - Ray's head is gone or cut off, which is not the trial's failure
        return node
    where = told.decode().split(",") if told else []
    return next((each for each in where if each in (node, EVERYWHERE)), "")


def _key() -> bytes:
    return LEAVING + ray.get_runtime_context().get_job_id().encode()
