"""Ray, started on this machine, or joined where RAY_ADDRESS names a cluster.

Import Ray from here and nowhere else: some of its settings are environment variables that it reads when imported.
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
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C reaches the command line, which says what it means
LOCAL = not os.environ.get("RAY_ADDRESS")
if LOCAL:
    # A cluster of this machine alone: nothing listens beyond loopback (what Ray does by itself on macOS and
    # Windows), and every connection must show a token that was made for this run.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import ray  # noqa: E402
import ray.tune.schedulers  # noqa: E402
import ray.tune.search  # noqa: E402
from ray import tune  # noqa: E402

__all__ = ["LOCAL", "as_completed", "ray", "session", "tune"]

OBJECT_STORE = 100 * 2**20
"""Bytes of Ray's shared memory on a local start: trials send nothing through it."""
AHEAD = 4
"""Items that are handed to Ray for each core: one that runs, and some so that it never waits."""
RETRIES = 3
"""Times that Ray runs an item again whose process was ended."""

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def session() -> Iterator[None]:
    """Inside, Ray is there; what was started here ends with the block."""
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
    """`function` of each item on one core each, in the order in which they end.

    Items are taken as cores come free, a few ahead, so that their number costs neither Ray nor memory.

    :param lost: the result of an item whose process was ended, three times over, and why in words.
    :param memory: bytes that are set aside for each; as many run at once as fit.
    :raises: what `function` raised, at the first failure.
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
    """What is set aside for each item: at most what a machine has, else Ray would wait for a larger one for ever."""
    free = [int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]]
    bound = min(memory, max(free))
    if LOCAL and bound and (fit := max(free) // bound) < cores():
        warnings.warn(
            f"memory for {fit} at a time on {cores()} cores: {max(free) / 2**20:.0f} MB are free, and each may take "
            f"{bound / 2**20:.0f} MB",
            stacklevel=3,
        )
    return bound


def _why(error: Exception) -> str:
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the machine's memory was too small"
    return f"its process was ended {RETRIES + 1} times over, such as for lack of memory"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
