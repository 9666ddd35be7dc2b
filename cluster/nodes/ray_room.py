"""Room for trials on the nodes of Ray: said before work starts, waited for where nodes may still join."""

import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tesseral.cluster.nodes.needs import Needs, describe
from tesseral.cluster.nodes.packing import Usage
from tesseral.cluster.nodes.ray_session import LOCAL, answered, ray
from tesseral.cluster.nodes.unfit_nodes import NODE
from tesseral.study.errors import ClusterError, StudyFileError
from tesseral.study.wording import listed

JOIN_WITHIN = 300.0
"""Seconds that a cluster without an autoscaler has to grow a node on which a trial can run. A driver often starts when
the head is there and the workers are not."""
LOOK_EVERY = 1.0
"""Seconds between two looks."""
KEYS = {"CPU": "cpus", "GPU": "gpus", "memory": "memory"}
"""Ray's name of a resource → key of `[resources]`."""


def nodes() -> list[dict[str, Any]]:
    """What Ray says about each node that is alive."""
    return [node for node in answered(ray.nodes) if node["Alive"]]


def node_types() -> list[dict[str, float]]:
    """What each kind of node has that an autoscaler may add; empty without one, or where it does not tell."""
    config = answered(ray._private.state.state.get_cluster_config)
    groups = config.node_group_configs if config is not None else ()
    return [dict(group.resources) for group in groups if group.max_count]


def ending() -> dict[str, float]:
    """Id of each node that is about to end → seconds that it has; infinite without a deadline.

    Ray drains a node that is preempted, that its autoscaler ends, or whose `ray start --block` gets SIGTERM.
    """
    deadlines = ray._private.state.state.get_draining_nodes()  # ms since 1970; 0 if there is none
    now = time.time()
    return {node: max(0.0, at / 1000 - now) if at else math.inf for node, at in deadlines.items()}


def check_room(needs: Needs, within: float = JOIN_WITHIN) -> None:
    """Check that a node can run a trial. Where one may still join, wait for it, and say so once.

    :param needs: of a trial.
    :param within: seconds that are waited for a node, where no autoscaler tells which nodes there can be.
    :raises StudyFileError: if this machine, without a cluster, is too small.
    :raises ClusterError: if no node of the cluster can ever run a trial.
    """
    if LOCAL:
        _check_here(needs)
        return
    if not (lacking := _lacking(needs)):
        return
    if not node_types():
        warnings.warn(f"{lacking}; waiting {within:g} s for a node that has it", stacklevel=2)
        end = time.monotonic() + within
        with _demanded(needs):
            while (lacking := _lacking(needs)) and not node_types() and time.monotonic() < end:
                time.sleep(LOOK_EVERY)
    if lacking:
        raise ClusterError(f"{lacking}; lower [resources], or start a node that has it")


def _lacking(needs: Needs) -> str:
    return needs.lacking([node["Resources"] for node in nodes()], node_types())


@contextmanager
def _demanded(needs: Needs) -> Iterator[None]:
    """Ask for the room that is waited for: a group of no nodes grows for demand alone. It ends with this driver."""
    group = answered(partial(ray.util.placement_group, [needs.bundle]))
    try:
        yield
    finally:
        answered(partial(ray.util.remove_placement_group, group))


def _check_here(needs: Needs) -> None:
    have = ray.cluster_resources()
    for name, amount in needs.bundle.items():
        if (there := have.get(name, 0)) < amount:
            key = KEYS.get(name, f"custom.{name}")
            raise StudyFileError(
                f"resources.{key}",
                f"expected at most {describe({name: there})}, which this machine has, got {describe({name: amount})}",
            )


def probe(needs: Needs, measure: Callable[[], Usage], without: Collection[str] = ()) -> Usage:
    """Have the use of memory measured on a node, in a process of its own.

    :param needs: what the process reserves.
    :param measure: measures.
    :param without: ids of nodes on which it is not to run.
    :raises ClusterError: if the process was lost.
    :raises Exception: what `measure` raised.
    """
    where = {NODE: f"!in({','.join(without)})"} if without else None
    reserved = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "resources": needs.custom}
    task = ray.remote(max_calls=1, max_retries=1, label_selector=where, **reserved)
    reference = task(_call).remote(measure)
    try:
        return answered(partial(ray.get, reference))
    except ray.exceptions.RayTaskError as error:
        raise error.cause or error from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise ClusterError(
            "the process that measured the memory of a trial was lost, perhaps for lack of it; write numbers instead "
            'of "auto" in [resources]'
        ) from error


def _call(measure: Callable[[], Usage]) -> Usage:
    return measure()


def too_small(needs: Needs) -> str:
    """What to say where nodes have cores, and yet too little for any trial; empty if there are none.

    :param needs: of a trial.
    """
    small = [node for node in nodes() if node["Resources"].get("CPU") and not needs.fits(node["Resources"])]
    if LOCAL or not small:
        return ""
    names = listed(sorted(node["NodeManagerAddress"] for node in small))
    which, have = ("node", "has") if len(small) == 1 else ("nodes", "have")
    return f"no trial runs on {which} {names}, which {have} less than one needs, {describe(needs.bundle)}"


def unused_gpus(gpus: float, device: str) -> str:
    """What to say where machines have GPUs that trials leave unused without having been told to; mostly empty.

    :param gpus: of a trial.
    :param device: `resources.device`.
    """
    there = sum(node["Resources"].get("GPU", 0) for node in nodes())
    if gpus or device != "auto" or not there:
        return ""
    return (
        f"trials train on the CPU although there {'is' if there == 1 else 'are'} {describe({'GPU': there})}: write "
        'gpus = "auto" in [resources] to use them, or device = "cpu" if this is meant'
    )
