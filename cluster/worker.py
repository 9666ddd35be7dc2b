"""What a worker does with a job: train the trial, record it, return. It runs with or without Ray."""

import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tesseral.cluster.references import open_reference
from tesseral.models.device import find_device
from tesseral.models.reference_file import Reference
from tesseral.models.training import DivergedError, train
from tesseral.study.attempt import Attempt
from tesseral.study.document import read_document
from tesseral.study.errors import LeaseLostError, RecordError, StoreError
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

    What goes wrong inside the trial becomes its outcome; what goes wrong around it is raised, and the trial is left
    for the next start. None: it was finished already, or another worker or driver has it now.

    :raises RecordError: if the trial's record is not there.
    :raises DataError: if its reference data is not there.
    :raises TesseralError: if this machine lacks the device.
    :raises StoreError: if the storage fails.
    """
    store = Store(job.storage).child(job.study)
    plan = read_document(store, f"trials/{job.trial}/trial.json", "trial", "traces")
    if plan is None:
        raise RecordError(
            f"expected the record of trial {job.trial[:10]} in {store.url}, found none; workers on several machines "
            "need a storage that all of them share"
        )
    trial = Trial.from_dict(plan["trial"])
    # What a machine lacks is no fault of the trial: found out before an attempt begins, it costs the trial nothing.
    find_device(job.device)
    reference = open_reference(job.storage, trial.configuration.data.reference)
    attempt = Attempt.begin(
        store,
        job.trial,
        job.lease,
        {"host": socket.gethostname(), "pid": os.getpid(), "cpus": job.cpus, "gpus": job.gpus},
        seal_every=job.seal_every,
        checkpoint_every=job.checkpoint_every,
        on_progress=on_progress,
    )
    if attempt is None:
        return None
    try:
        state, facts = _train(job, trial, reference, Traces(**plan["traces"]), attempt)
        return state if attempt.finish(state, attempt.step, **facts) else None
    except LeaseLostError:
        return None


def _train(
    job: Job, trial: Trial, reference: Reference, traces: Traces, attempt: Attempt
) -> tuple[State, dict[str, Any]]:
    try:
        result = train(trial, reference, attempt, device=job.device, traces=traces, checkpoint=attempt.checkpoint)
    except (LeaseLostError, StoreError):
        raise
    except DivergedError as error:
        return State.FAILED, {"reason": str(error), "metrics": error.metrics}
    except Exception as error:  # noqa: BLE001 - a trial's own failure is its outcome, and never stops the study
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return State.FAILED, {"reason": reason, "traceback": traceback.format_exc()}
    return State.COMPLETE, {
        "metrics": result.metrics,
        "seconds": result.seconds,
        "device": result.device,
        "peak_memory": result.peak_memory,
    }
