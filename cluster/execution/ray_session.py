"""Ray, started on this machine, or joined if RAY_ADDRESS names a cluster.

Import Ray from here and nowhere else: it reads some of its settings from environment variables when it is imported.
"""

import logging
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

# Tune's own loggers would write every report again, as JSON, CSV and TensorBoard.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
# Tune's newer output engine prints its own reports, even with verbose=0.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Ray must not hide the GPUs from a task that reserves none: its job says which device it may use.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Ctrl-C must reach the command line, which says how to continue; Tune would catch it and end quietly.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
LOCAL = not os.environ.get("RAY_ADDRESS")
if LOCAL:
    # A cluster of this machine alone. Nothing may listen beyond loopback, which is what Ray does by itself on macOS
    # and Windows, and every connection must show a token made for this run.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import ray  # noqa: E402
import ray.tune.schedulers  # noqa: E402
import ray.tune.search  # noqa: E402
from ray import tune  # noqa: E402

__all__ = ["LOCAL", "as_completed", "ray", "session", "tune"]

OBJECT_STORE = 100 * 2**20
"""Size of Ray's shared memory on this machine, in bytes. Trials send nothing through it, so it can be small."""
AHEAD = 4
"""Items handed to Ray per core: one that runs, and others so that the core never waits."""
RETRIES = 3
"""How often Ray runs an item again after its process was killed."""

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def session() -> Iterator[None]:
    """Start or join Ray for a block of code. A Ray that was started here is shut down at its end."""
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if LOCAL:
        options |= {"address": "local", "num_cpus": cores(), "include_dashboard": False}
        options |= {"object_store_memory": OBJECT_STORE}
    ray.init(**options)
    try:
        yield
    finally:
        ray.shutdown()


def as_completed(
    function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int = 0
) -> Iterator[tuple[T, R]]:
    """Apply a function to each item, one core per item, and yield results as they are ready.

    Items are taken as cores become free, a few ahead, so that neither Ray nor memory has to hold all of them.

    :param items: pickled one by one, as cores come free.
    :param function: runs in another process; it and the items are pickled.
    :param lost: gives the result of an item whose process was killed repeatedly; called with the item and the reason.
    :param memory: bytes reserved for each item; as many items run at once as fit.
    :returns: pairs of an item and its result.
    :raises Exception: whatever `function` raised first.
    """
    with session():
        bound = _bounded(memory)
        task = ray.remote(num_cpus=1, memory=bound, max_retries=RETRIES)(_apply)
        shared, waiting = ray.put(function), iter(items)
        pending: dict[Any, T] = {}
        try:
            while True:
                ahead = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 0)))  # a cluster may grow
                pending |= {task.remote(shared, item): item for item in islice(waiting, ahead - len(pending))}
                if not pending:
                    return
                (done, *_), _ = ray.wait(list(pending), num_returns=1)
                item = pending.pop(done)
                try:
                    result = ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause or error from None
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                    result = lost(item, _why(error))
                yield item, result
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _apply(function: Callable[[T], R], item: T) -> R:
    return function(item)


def _bounded(memory: int) -> int:
    """Bytes to reserve per item: at most what the largest machine has, or Ray would wait forever for a larger one."""
    free = [int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]]
    bound = min(memory, max(free))
    if LOCAL and bound and (fit := max(free) // bound) < cores():
        warnings.warn(
            f"memory for {fit} at a time on {cores()} cores: {max(free) / 2**20:.0f} MB are free, and each may take "
            f"up to {bound / 2**20:.0f} MB",
            stacklevel=3,
        )
    return bound


def _why(error: Exception) -> str:
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the machine ran out of memory"
    return f"its process was killed {RETRIES + 1} times, perhaps for lack of memory"


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
