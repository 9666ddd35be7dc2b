"""Ray, started on this machine, or joined where RAY_ADDRESS names a cluster.

Import Ray from here and nowhere else: some of its settings are environment variables that it reads when imported.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


def as_completed(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, R]]:
    """`function` of each item on one core each, in the order in which they end.

    :raises: what `function` raised, at the first failure.
    """
    with session():
        task = ray.remote(num_cpus=1, max_retries=3)(function)
        pending = {task.remote(item): item for item in items}
        try:
            while pending:
                (done, *_), _ = ray.wait(list(pending), num_returns=1)
                yield pending.pop(done), _get(done)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
