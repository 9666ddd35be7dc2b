"""What a worker does with a job: train the trial, record it, return. It runs with or without Ray."""

import json
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tesseral.cluster.references import open_reference
from tesseral.models.training import DivergedError, train
from tesseral.study.attempt import Attempt
from tesseral.study.errors import LeaseLostError
from tesseral.study.store import Store
from tesseral.study.trial import State, Traces, Trial


@dataclass(frozen=True)
class Job:
    """One trial to run: where its records are, and what it may use. Plain values, so any executor can send it."""

    storage: str
    study: str
    trial: str
    lease: int
    steps: int
    """Optimizer steps of the whole trial."""
    cpus: int = 1
    gpus: float = 0.0
    device: str = "auto"
    checkpoint_every: float = 30.0
    """Seconds."""
    seal_every: float = 5.0
    """Seconds."""


def run_trial(job: Job, on_progress: Callable[[int, int], None] = lambda step, steps: None) -> State | None:
    """Train a trial from its furthest checkpoint to its end and seal its outcome.

    What goes wrong inside the trial becomes its outcome. None: it was finished already, or another driver holds
    the study now.
    """
    store = Store(job.storage).child(job.study)
    where = {"host": socket.gethostname(), "pid": os.getpid(), "cpus": job.cpus, "gpus": job.gpus}
    attempt = Attempt.begin(
        store,
        job.trial,
        job.lease,
        where,
        seal_every=job.seal_every,
        checkpoint_every=job.checkpoint_every,
        on_progress=on_progress,
    )
    if attempt is None:
        return None
    try:
        state, facts = _train(job, store, attempt)
        step = facts.pop("step")
        return state if attempt.finish(state, step, **facts) else None
    except LeaseLostError:
        return None


def _train(job: Job, store: Store, attempt: Attempt) -> tuple[State, dict[str, Any]]:
    plan = json.loads(store.read(f"trials/{job.trial}/trial.json") or b"{}")
    trial = Trial.from_dict(plan["trial"])
    try:
        result = train(
            trial,
            open_reference(job.storage, trial.configuration.data.reference),
            attempt,
            device=job.device,
            traces=Traces(**plan["traces"]),
            checkpoint=attempt.checkpoint,
        )
    except LeaseLostError:
        raise
    except DivergedError as error:
        return State.FAILED, {"step": error.step, "reason": str(error), "metrics": error.metrics}
    except Exception as error:  # noqa: BLE001 - a trial's own failure is its outcome, and never stops the study
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return State.FAILED, {"step": 0, "reason": reason, "traceback": traceback.format_exc()}
    return State.COMPLETE, {
        "step": result.steps,
        "metrics": result.metrics,
        "seconds": result.seconds,
        "device": result.device,
        "peak_memory": result.peak_memory,
    }
