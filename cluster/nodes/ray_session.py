"""Ray, started on this machine, or joined if RAY_ADDRESS names a cluster.

Import Ray from here and nowhere else: it reads some of its settings from environment variables when it is imported.
"""

import atexit
import logging
import math
import os
import secrets
import signal
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from tesseral.cluster.nodes.ray_machine import (
    Head,
    check_address,
    check_limits,
    cores,
    head_of,
    in_job,
    private_folder,
)
from tesseral.cluster.nodes.unfit_nodes import NODE
from tesseral.study.errors import ClusterError

# Tune's own loggers would write every report again, as JSON, CSV and TensorBoard.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
# Tune's newer output engine prints its own reports, even with verbose=0.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# What went wrong with a trial is said in one sentence.
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
# Ray must not hide the GPUs from a task that reserves none: its job says which device it may use.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Ctrl-C must reach the command line, which says how to continue; Tune would catch it and end quietly.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# A call from a thread that outlives its session must fail; Ray would start a cluster for it.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
LOCAL = os.environ.get("RAY_ADDRESS", "") in ("", "local")  # `local` is Ray's word for "start one here"
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
from ray._private import services  # noqa: E402
from ray.experimental import internal_kv  # noqa: E402
from ray.tune.execution import class_cache  # noqa: E402
from ray.util import metrics  # noqa: E402

if LOCAL:
    # Workers inherit the environment. Tune would also send the keys of S3 to each, and Ray would write them to its log.
    class_cache.ENV_VARS_TO_PROPAGATE.clear()

# Ray would print the last lines of its log among ours when its raylet ends; what ended is said in one sentence.
ray._private.worker.print_to_stdstream = lambda *_, **__: None

__all__ = [
    "LOCAL",
    "answered",
    "as_completed",
    "cores",
    "here",
    "internal_kv",
    "metrics",
    "node_folder",
    "ray",
    "session",
    "tune",
]

OBJECT_STORE = 100 * 2**20
"""Size of Ray's shared memory on this machine, in bytes. Trials send nothing through it, so it can be small."""
AHEAD = 4
"""Items handed to Ray per core: one that runs, and others so that the core never waits."""
RETRIES = 3
"""How often Ray runs an item again after its process was killed."""
LOOK_EVERY = 0.5
"""Seconds between two looks at Ray's servers."""
LEAVE_WITHIN = 0.0 if in_job() else 8.0
"""Seconds that a call has to return from Ray once its result is no longer waited for. Ray ends the workers of a job
whose driver has gone."""
JOIN_WITHIN = 10.0
"""Seconds in which a cluster must let this process join."""
SERVERS = {"raylet": "raylet", "gcs_server": "head (GCS)"}
"""Process type → name of the servers without which nothing goes on."""

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def session() -> Iterator[None]:
    """Start or join Ray for a block of code. A Ray that was started here is shut down at its end.

    :raises ClusterError: if Ray cannot be started or joined, or if one of its servers on this machine dies.
    :raises TesseralError: if RAY_ADDRESS is no address of a cluster.
    """
    global head
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it would list the trials whose workers were lost
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not LOCAL:
        _join(os.environ["RAY_ADDRESS"], options)
        head = head_of(ray.get_runtime_context().gcs_address)
        try:
            yield
        finally:
            _end()
            head = None
        return
    check_limits(cores())
    options |= {"address": "local", "num_cpus": cores(), "include_dashboard": False}
    options |= {"object_store_memory": OBJECT_STORE}
    with private_folder() as folder, _own_group():
        _start(options | {"_temp_dir": folder})
        yield


def _start(options: dict[str, Any]) -> None:
    """Start Ray, whose servers end with this thread. It replaces the handler of SIGTERM, which is put back."""
    handler = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    try:
        ray.init(**options)
    except SystemExit as ended:
        if main and callable(handler) and ended.code == signal.SIGTERM:
            handler(signal.SIGTERM, None)
        raise
    except Exception as error:
        raise ClusterError(f"Ray could not be started: {_first_line(error)}") from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)


def _join(address: str, options: dict[str, Any]) -> None:
    """Join the cluster that RAY_ADDRESS names. What listens there may be no head of Ray, and never answer."""
    check_address(address)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        answered(partial(ray.init, **options), within=JOIN_WITHIN)
    except TimeoutError:
        why = f"what listens there has not answered as the head of a Ray cluster within {JOIN_WITHIN:g} s"
    except ConnectionError as error:
        why = "no Ray cluster runs on this machine" if address == "auto" else _first_line(error)
    except Exception as error:  # noqa: BLE001 - Ray's own classes have nothing in common
        why = _first_line(error)
    else:
        if main:
            signal.signal(signal.SIGTERM, handler)  # Ray's own prints a C++ stack
        return
    raise ClusterError(f"RAY_ADDRESS: the cluster at {address!r} cannot be joined: {why}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def _own_group() -> Iterator[None]:
    """Start Ray's servers in process groups of their own.

    A signal to this process's group, from a terminal, `timeout` or a batch system, then reaches this process alone,
    which lets the trials keep their state before it ends Ray.
    """
    before = services.ConsolePopen

    class Popen(before):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options | ({"process_group": 0} if os.name == "posix" else {}))

    services.ConsolePopen = Popen
    try:
        yield
    finally:
        services.ConsolePopen = before
        _end()


def _check_wait(in_time: bool) -> None:
    """Raise an error if the wait is over.

    :param in_time: whether there is time left.
    :raises ClusterError: if a server of Ray on this machine has ended.
    :raises TimeoutError: if there is no time left.
    """
    if lost := _lost():
        raise ClusterError(f"Ray is lost: its {lost} ended")
    if not in_time:
        raise TimeoutError


def _lost() -> str:
    """The servers of Ray that have ended, without which nothing goes on; empty if none has."""
    if head is not None and head.gone:
        return SERVERS["gcs_server"]
    node = ray._private.worker._global_node
    if not LOCAL or node is None:
        return ""
    ended = {name for name, process in node.dead_processes()}
    return " and ".join(words for name, words in SERVERS.items() if name in ended)


def answered(
    call: Callable[[], R],
    leave: Callable[[BaseException], None] = lambda error: None,
    within: float = math.inf,
) -> R:
    """Call what waits for Ray, and return its result.

    The call has a thread of its own. Ray waits without end for a raylet that was killed, and a minute for its head,
    deaf to signals. This thread hears them, and looks after Ray's servers.

    :param call: done in the thread.
    :param leave: called with the reason if the wait is over before the call has returned; it makes the call return.
    :param within: seconds that are waited.
    :returns: the result of the call.
    :raises ClusterError: if a server of Ray has ended.
    :raises TimeoutError: if the time is over.
    :raises BaseException: what the call raised.
    """
    global abandoned
    results, errors = list[R](), list[BaseException]()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    end = time.monotonic() + within
    thread = threading.Thread(target=run, name="ray", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK_EVERY)
            if not results:
                _check_wait(time.monotonic() < end)
    except BaseException as error:
        leave(error)
        thread.join(LOOK_EVERY if isinstance(error, TimeoutError | ClusterError) else LEAVE_WITHIN)
        abandoned = abandoned or thread.is_alive()
        raise
    if errors:
        raise errors[0]
    return results[0]


head: Head | None = None
"""The head of the cluster that was joined."""
abandoned = False
"""Whether Ray was left without its answer. It would keep this process from ending, so `os._exit` is to end it."""


def _end() -> None:
    """End Ray. Where a server or a thread does not answer, `ray.shutdown` would wait for it: Ray is left as it is."""
    global abandoned
    abandoned = abandoned or bool(_lost())
    if abandoned:
        atexit.unregister(ray.shutdown)
        internal_kv._internal_kv_reset()  # Tune would tell Ray's head at exit what it forgets
        if (node := ray._private.worker._global_node) is not None:
            node.kill_all_processes(check_alive=False)
    else:
        ray.shutdown()


def as_completed(
    function: Callable[[T], R],
    items: Iterable[T],
    lost: Callable[[T, str], R],
    memory: int = 0,
    without: Collection[str] = (),
) -> Iterator[tuple[T, R]]:
    """Apply a function to each item, one core per item, and yield results as they are ready.

    Items are taken as cores become free, a few ahead, so that neither Ray nor memory has to hold all of them.

    :param items: pickled one by one, as cores come free.
    :param function: runs in another process; it and the items are pickled.
    :param lost: gives the result of an item whose process was killed repeatedly; called with the item and the reason.
    :param memory: bytes reserved for each item; as many items run at once as fit.
    :param without: ids of nodes on which none is to run.
    :returns: pairs of an item and its result.
    :raises Exception: whatever `function` raised first.
    """
    with session():
        bound = bounded(memory, ray.nodes(), without)
        where = {NODE: f"!in({','.join(without)})"} if without else None
        task = ray.remote(num_cpus=1, memory=bound, max_retries=RETRIES, label_selector=where)(_apply)
        shared, waiting = ray.put(function), iter(items)
        pending: dict[Any, T] = {}
        try:
            while True:
                ahead = AHEAD * max(1, int(answered(ray.cluster_resources).get("CPU", 0)))  # a cluster may grow
                pending |= {task.remote(shared, item): item for item in islice(waiting, ahead - len(pending))}
                if not pending:
                    return
                (done, *_), _ = answered(partial(ray.wait, list(pending), num_returns=1))
                item = pending.pop(done)
                try:
                    result = answered(partial(ray.get, done))
                except ray.exceptions.RayTaskError as error:
                    raise error.cause or error from None
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                    result = lost(item, _why(error))
                yield item, result
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _apply(function: Callable[[T], R], item: T) -> R:
    try:
        return function(item)
    except ImportError as error:
        raise ClusterError(
            f"node {ray.util.get_node_ip_address()} lacks {error.name or error}, which this node has: install the same "
            "packages on every node, such as tesseral[study,reference]"
        ) from None


def bounded(memory: int, nodes: Iterable[dict[str, Any]], without: Collection[str] = ()) -> int:
    """Bytes to reserve per item: at most what the largest machine has, or Ray would wait forever for a larger one.

    :param memory: bytes that an item may take.
    :param nodes: what Ray says about each.
    :param without: ids of nodes on which none is to run.
    """
    able = [node for node in nodes if node["Alive"] and node["NodeID"] not in without]
    free = [int(node["Resources"].get("memory", 0)) for node in able]
    bound = min(memory, max(free, default=memory))
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


def here() -> tuple[str, str]:
    """The network address and the id of Ray's node that this process runs on."""
    return ray._private.worker.global_worker.node.node_ip_address, ray.get_runtime_context().get_node_id()


def node_folder() -> str:
    """Folder of Ray's on this node, for what its workers share; it goes with Ray."""
    node = ray._private.worker._global_node
    return os.path.join(node.get_session_dir_path(), "tesseral") if node is not None else ""
