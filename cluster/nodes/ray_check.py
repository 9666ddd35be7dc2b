"""What the nodes of a cluster lack, found before work starts: the storage, the code, modules. A sentence each."""

import importlib.util
import platform
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tesseral.cluster.nodes.code import code_hash, other_code
from tesseral.cluster.nodes.provenance import TRAINING, other_packages, submitted, versions_of
from tesseral.cluster.nodes.ray_session import LOCAL, answered, ray
from tesseral.study.errors import ClusterError, RecordError, StoreError
from tesseral.study.parsing.user_function import make_importable
from tesseral.study.records.store import Store

CHECK_WITHIN = 60.0
"""Seconds in which a node must answer. One that has not is used all the same."""


@dataclass(frozen=True)
class Look:
    """What one process sees."""

    code: str
    """Hash of its code of tesseral."""
    missing: tuple[str, ...]
    """Modules that it cannot find."""
    reads: bool
    """Whether it reads what the driver wrote."""
    wrote: str
    """Name of the file that it wrote for the driver; empty if it reads nothing."""
    trouble: str = ""
    """Why it cannot use the storage."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package → version that it has."""


@dataclass(frozen=True)
class Asked:
    """What is asked of each node."""

    storage: str
    probe: str
    """Name of a file that the driver wrote to the storage."""
    modules: tuple[str, ...] = ()
    folder: str = ""
    """Folder of the study file, where the user's own modules may be."""
    packages: tuple[str, ...] = ()
    """Packages whose versions are asked for."""


@dataclass(frozen=True)
class Checked:
    """What the nodes lack."""

    unfit: Mapping[str, str] = field(default_factory=dict)
    """Id of a node → why nothing can run there."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Id of a node that is unfit → its address."""


def check_nodes(
    storage: str,
    modules: Sequence[str] = (),
    folder: str = "",
    fits: Callable[[Mapping[str, float]], bool] = lambda node: node.get("CPU", 0) >= 1,
    packages: Sequence[str] = TRAINING,
) -> Checked:
    """Check that the nodes of a cluster have what work needs. Those that have not are named in a warning.

    A storage that all share is written on one node and read on another, both ways. On this machine alone, and on a
    cluster whose only node is that of the driver, nothing is checked: the driver has used it all already.

    :param storage: folder or URL of records.
    :param modules: names of modules that work imports.
    :param folder: of the study file, where modules of the user's own may be.
    :param fits: whether a node has what one process reserves, by Ray's names of resources.
    :param packages: packages of which each node must have the driver's version.
    :returns: the nodes on which nothing can run.
    :raises ClusterError: if that holds for each of them.
    """
    if LOCAL:
        return Checked()
    if sentence := other_versions():
        warnings.warn(sentence, stacklevel=2)
    nodes = {node["NodeID"]: node for node in answered(ray.nodes) if node["Alive"] and fits(node["Resources"])}
    if nodes.keys() <= {ray.get_runtime_context().get_node_id()}:
        return Checked()
    store, names = Store(storage), [_name()]
    try:
        store.create(names[0], b"the driver")
        looks = _looks(nodes, Asked(store.url, names[0], tuple(modules), folder, tuple(packages)))
        names += [look.wrote for look in looks.values() if isinstance(look, Look) and look.wrote]
        unfit = {}
        for node, look in looks.items():
            if why := _lacks(look, store, versions_of(tuple(packages))):
                unfit[node] = why
                warnings.warn(f"node {nodes[node]['NodeManagerAddress']} is left out: {why}", stacklevel=2)
    finally:
        with suppress(StoreError, RecordError):
            store.delete(names)
    if unfit and len(unfit) == len(nodes):
        raise ClusterError(f"no node of the cluster can be used: {next(iter(unfit.values()))}")
    return Checked(unfit, {node: nodes[node]["NodeManagerAddress"] for node in unfit})


def other_versions() -> str:
    """What to say where a job was submitted from another version of Python or Ray; empty if not."""
    own = submitted()
    here = {"python": platform.python_version(), "ray": ray.__version__}
    others = {name: own[name] for name in here if own.get(name) not in (None, here[name])}
    if not others:
        return ""
    words = {"python": "Python", "ray": "Ray"}
    there = " and ".join(f"{words[name]} {other}" for name, other in others.items())
    return f"the cluster has {' and '.join(f'{words[name]} {here[name]}' for name in others)}; submitted from {there}"


def _looks(nodes: Mapping[str, Any], asked: Asked) -> dict[str, "Look | Exception"]:
    """Id of each node that answers in time → what it sees, or what kept it from looking."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    task = ray.remote(num_cpus=0, max_retries=0)(look)
    tasks = {task.options(scheduling_strategy=strategy(node, soft=False)).remote(asked): node for node in nodes}
    answered(partial(ray.wait, list(tasks), num_returns=len(tasks), timeout=CHECK_WITHIN))
    found: dict[str, Look | Exception] = {}
    for reference, node in tasks.items():
        try:
            found[node] = answered(partial(ray.get, reference, timeout=0))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(reference, force=True)
            where = nodes[node]["NodeManagerAddress"]
            warnings.warn(
                f"node {where} has not answered within {CHECK_WITHIN:g} s; it is used unchecked", stacklevel=3
            )
        except ray.exceptions.RayError as error:
            found[node] = error
    return found


def look(asked: Asked) -> Look:
    """Look around in this process.

    :param asked: what is asked.
    """
    make_importable(asked.folder)
    missing = tuple(name for name in asked.modules if not _found(name))
    versions = versions_of(asked.packages)
    store, name = Store(asked.storage), _name()
    try:
        reads = store.read(asked.probe) is not None
        if reads:
            store.create(name, b"a node")
    except (StoreError, RecordError) as error:
        return Look(code_hash(), missing, False, "", str(error), versions)
    return Look(code_hash(), missing, reads, name if reads else "", versions=versions)


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _lacks(seen: "Look | Exception", store: Store, versions: Mapping[str, str]) -> str:
    """Why nothing can run on a node; empty if something can.

    :param versions: package → version that the driver has.
    """
    if isinstance(seen, Exception):
        lines = str(seen).strip().splitlines()
        modules = [line for line in lines if "No module named" in line]
        return (modules or lines or [type(seen).__name__])[-1].strip().rstrip(".")
    if why := other_code(seen.code, code_hash()):
        return why
    if seen.missing:
        return f"it has no module {' and no module '.join(map(repr, seen.missing))}"
    if why := other_packages(seen.versions, versions):
        return why
    if seen.trouble:
        return f"it cannot use the storage: {seen.trouble}"
    if not seen.reads or not _arrives(store, seen.wrote):
        return f"what is written to {store.url} on one node is not there on the other; name a storage that all share"
    return ""


def _arrives(store: Store, name: str) -> bool:
    """Whether a file that another node wrote is there. A network file system may remember its absence for seconds."""
    for pause in (0.0, 1.0, 3.0):
        time.sleep(pause)
        if store.read(name) is not None:
            return True
    return False


def _name() -> str:
    return f".probe.{uuid.uuid4().hex}"  # hidden, and named like a temporary file, which a sweep deletes
