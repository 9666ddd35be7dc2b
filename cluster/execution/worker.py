"""What a worker does with a job: train the trial and seal its outcome, with or without Ray.

torch is imported when a job runs. A driver, which imports this module for its names, so saves 250 MB.
"""

import gc
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.references import open_data, open_on_node
from tesseral.models.training.recorder import DivergedError
from tesseral.study.configuration.trial import Cause, State, Traces, Trial
from tesseral.study.errors import (
    CheckpointError,
    DeviceLostError,
    LeaseLostError,
    MissingRowsError,
    RecordError,
    StoreError,
)
from tesseral.study.parsing.user_function import make_importable
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.document import TrialRecord, read_document
from tesseral.study.records.store import Store


class StoppedAtRung(Exception):  # noqa: N818 - not an error: it unwinds a trial that runs in this process
    """The trial is stopped at a rung."""


class NeedsRoomError(Exception):
    """The trial ran out of memory beside others, and is to be run again alone."""


@dataclass(frozen=True)
class Job:
    """One trial to run: where its records are and what it may use. Any executor can send its plain values."""

    storage: str
    study: str
    trial: str
    lease: int
    steps: int
    """Optimizer steps of the whole trial."""
    folder: str = ""
    """Folder of the study file, where the user's own modules are."""
    address: str = ""
    """Network address of the worker's node, for the records; empty where there is no cluster."""
    node: str = ""
    """Ray's id of that node, likewise."""
    node_folder: str = ""
    """Folder of the machine in which its workers share reference data; empty: each reads for itself."""
    cpus: int = 1
    gpus: float = 0.0
    device: str = "auto"
    backend: str = "auto"
    """How products of features are computed."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints."""
    seal_every: float = 5.0
    """Seconds between sealed segments of curves and traces."""
    shared: bool = False
    """Whether other trials may use the same GPU, or on the CPU the same memory, at the same time."""
    alone: bool = False
    """Whether it ran out of memory beside others, and has the device to itself now."""


RETRAINED = 2
"""Number of times that a worker trains rows again which the storage has lost, before it gives the trial up."""

Runner = Callable[[Job, Callable[[int, int], None], Callable[[int, float], None]], Any]
"""Does a job, as `run_trial`; called with the job, `on_progress` and `on_rung`."""


def run_trial(
    job: Job,
    on_progress: Callable[[int, int], None] = lambda step, steps: None,
    on_rung: Callable[[int, float], None] = lambda epoch, value: None,
) -> State | None:
    """Train a trial from its furthest checkpoint to its end and seal its outcome.

    An error inside the trial becomes its outcome. An error around it is raised, and the trial is left for the next
    start. A trial that runs out of memory is tried once more from its furthest checkpoint, with each batch in two
    parts; one that shared the memory with others is first run alone, which the caller sees to.

    :param job: the trial and what it may use.
    :param on_progress: called with the steps done and the steps in all.
    :param on_rung: called with a rung's epoch and sealed value. It may wait; what it raises ends the execution.
    :returns: how the trial ended; None if it had ended before, or another worker or driver has it now.
    :raises RecordError: if the trial's record is missing.
    :raises DataError: if its reference data is missing.
    :raises TesseralError: if this machine lacks the device, or the source of a user's network.
    :raises DeviceLostError: if this process can no longer use its device and should end.
    :raises NeedsRoomError: if the job is `shared` and ran out of memory.
    :raises StoreError: if the storage fails.
    """
    from tesseral.models.training.device import device_label, find_device, limit_memory, usable
    from tesseral.models.training.trial_check import check_trial

    store = Store(job.storage).child(job.study)
    plan = read_document(store, f"trials/{job.trial}/trial.json", TrialRecord)
    if plan is None:
        raise RecordError(
            f"expected the record of trial {job.trial[:10]} in {store.url}, found none; workers on several machines "
            "need a storage that all of them share"
        )
    trial = Trial.from_dict(plan["trial"])
    make_importable(job.folder)
    # Check the machine before the attempt begins: what it lacks is not the trial's fault and must not count as one.
    device = find_device(job.device)
    if not usable(device):
        raise DeviceLostError(f"this process can no longer use {device}")
    limit_memory(device, job.gpus if job.shared else 1.0)
    data = trial.configuration.data
    reference = open_data(job.storage, data, trial.data_hash, job.node_folder)
    tests = None
    if plan.get("stage") != "search":
        tests = {
            name: open_on_node(job.storage, path, trial.tests[name], job.node_folder)
            for name, path in data.tests.items()
        }
    check_trial(trial, reference, tests)
    steps = trial.configuration.steps_per_epoch
    parts, unusable, retrained = 1, set[str](), 0
    while True:
        attempt = Attempt.begin(
            store,
            job.trial,
            job.lease,
            _place(job, device_label(device)),
            without=unusable,
            seal_every=job.seal_every,
            checkpoint_every=job.checkpoint_every,
            on_progress=on_progress,
            rungs={epoch * steps: epoch for epoch in plan.get("rungs", ())},
            objective=plan.get("objective", ""),
            on_rung=on_rung,
            parts=parts,
        )
        if attempt is None:
            return None
        try:
            state, facts = _train(job, trial, reference, tests, plan, attempt)
            if state is None:
                gc.collect()  # the traceback held the batch's tensors
                parts = 2
                continue
            ended = state if attempt.finish(state, attempt.step, **facts) else None
        except LeaseLostError:
            return None
        except CheckpointError as error:
            warnings.warn(f"{error}; the trial goes on from an earlier state", stacklevel=2)
            unusable.update(attempt.kept[-1:])
            continue
        except MissingRowsError as error:
            retrained += 1
            if retrained > RETRAINED:
                raise
            warnings.warn(f"{error}; they are trained again", stacklevel=2)
            continue
        if not usable(device):
            raise DeviceLostError(f"a trial's error has ended the use of {device} by this process")
        return ended


def _place(job: Job, device: str) -> dict[str, Any]:
    """Where an attempt runs. Nodes may share a name, as containers and network namespaces do; no two share an id."""
    where = {"host": socket.gethostname(), "address": job.address, "node": job.node, "pid": os.getpid()}
    return {key: value for key, value in where.items() if value} | {
        "device": device,
        "cpus": job.cpus,
        "gpus": job.gpus,
        **({"alone": True} if job.alone else {}),
    }


def _train(
    job: Job,
    trial: Trial,
    reference: Reference,
    tests: dict[str, Reference] | None,
    plan: dict[str, Any],
    attempt: Attempt,
) -> tuple[State | None, dict[str, Any]]:
    """Run one attempt.

    :returns: how the trial ended, or None if smaller batches may help; and the facts for its outcome.
    """
    from tesseral.models.training.device import out_of_memory
    from tesseral.models.training.training import train

    try:
        result = train(
            trial,
            reference,
            attempt,
            device=job.device,
            traces=Traces(**plan["traces"]),
            checkpoint=attempt.checkpoint,
            step=attempt.step,
            test=tests is not None,
            parts=attempt.parts,
            backend=job.backend,
            tests=tests,
        )
    except (LeaseLostError, StoreError, RecordError, StoppedAtRung):
        raise
    except DivergedError as error:
        return State.FAILED, {"reason": str(error), "metrics": error.metrics, "cause": Cause.TRAINING}
    except Exception as error:  # noqa: BLE001 - a trial's own failure is its outcome and never stops the study
        full = out_of_memory(error)
        if full and job.shared:
            raise NeedsRoomError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
        if full and attempt.parts == 1 and trial.configuration.training.batch_size > 1:
            return None, {}
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        cause = Cause.MEMORY if full else Cause.MACHINE if isinstance(error, OSError) else Cause.CODE
        return State.FAILED, {"reason": reason, "traceback": traceback.format_exc(), "cause": cause}
    return State.COMPLETE, {
        "metrics": result.metrics,
        "seconds": result.seconds,
        "device": result.device,
        "peak_memory": result.peak_memory,
    }
