"""A Ray cluster whose nodes have addresses and temporary folders of their own, each on a host of a `Network`."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import ray_head
from tests.support.network import Host, Network, network

ROOT = Path(__file__).parents[2]
PORT = 6379
RAY = Path("/tmp/ray")
"""Ray's own temporary folder."""
STORE = 80 * 2**20
"""Size of each node's shared memory, bytes."""
START_WITHIN = 600.0
"""Seconds in which a node starts, on a machine that is busy with other work too."""


class Node:
    """One Ray node. While it is `kept`, it is started again when it ends, as a service would be, unless it is `held`.

    :param host: where it runs.
    :param folder: for what it logs, and for its temporary folder.
    :param options: of `ray start`.
    """

    def __init__(self, host: Host, folder: Path, environment: Mapping[str, str], *options: str) -> None:
        self.host, self.starts, self.kept, self.held = host, 0, True, False
        self._folder, self._environment = folder / host.name, dict(environment)
        self._command = [*ray_head.RAY, "start", *options, "--block"]
        self._command += [f"--node-ip-address={host.address}", "--disable-usage-stats"]
        self._command += [f"--object-store-memory={STORE}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while self.kept:
            self.starts += 1
            own = self._folder / str(self.starts)
            own.mkdir(parents=True)
            # Sockets and folders of two nodes of one machine would meet in Ray's folder, so each has its own there.
            script = f'mount --bind {own} {RAY} && exec "$@"'
            command = ["unshare", "-m", "--propagation", "private", "bash", "-c", script, "bash", *self._command]
            with (self._folder / f"{self.starts}.log").open("wb") as log:
                self._process = subprocess.Popen(
                    self.host.command(*command), stdout=log, stderr=log, env=self._environment, start_new_session=True
                )
                self._process.wait()
            self._kill()
            time.sleep(0.5)
            while self.held and self.kept:
                time.sleep(0.1)

    def _kill(self) -> None:
        for pid in self.host.processes():
            if self._owned(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _owned(self, pid: int) -> bool:
        """Whether a process on the host is Ray's: a driver and a store run on it too."""
        with suppress(OSError):
            return b"TESSERAL_NODE=1" in Path(f"/proc/{pid}/environ").read_bytes()
        return False

    @property
    def temporary(self) -> Path:
        """Its own `RAY`, as this process sees it."""
        return self._folder / str(self.starts)

    @property
    def up(self) -> bool:
        """Whether it runs and has started: a head listens before that, and on a busy machine may yet give up."""
        log, process = self._folder / f"{self.starts}.log", self._process
        runs = process is not None and process.poll() is None
        return runs and log.exists() and "Ray runtime started" in log.read_text()

    def inside(self, *arguments: str) -> list[str]:
        """A command that runs beside the node: on its host, with its temporary folder."""
        assert self._process is not None
        return ["nsenter", "-t", str(self._process.pid), "-m", "-n", *arguments]

    def kill(self) -> None:
        """Kill every process of the node at once. A node that is kept comes back."""
        self._kill()

    def terminate(self) -> None:
        """Ask it to end for good, as Kubernetes and Docker do: by SIGTERM to `ray start --block`."""
        assert self._process is not None
        self.kept = False
        self._process.terminate()

    def stop(self) -> None:
        """Kill it for good."""
        self.kept = False
        self._kill()
        self._thread.join(30)


class Hosts:
    """A head without CPUs, and worker nodes of one CPU each."""

    def __init__(self, net: Network, folder: Path, environment: Mapping[str, str]) -> None:
        self.net, self._folder = net, folder
        self.head_host = next(iter(net.hosts.values()))
        self.address = f"{self.head_host.address}:{PORT}"
        self.environment = (
            ray_head.clean()
            | {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
                "PYTHONPATH": os.pathsep.join([str(ROOT / "infra" / "namespace"), str(ROOT)]),
                "OMP_NUM_THREADS": "1",
                "RAY_worker_niceness": "0",  # of 15 by default, so that trials would wait for whatever else runs here
                "RAY_gcs_rpc_server_reconnect_timeout_s": "15",  # nodes end sooner once their head is gone
            }
            | environment
        )
        self.nodes: dict[str, Node] = {}
        self.start_head()

    def start_head(self) -> None:
        """Start the head, whose node has no CPU."""
        options = ["--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false"]
        self.nodes["head"] = Node(self.head_host, self._folder, self._of_a_node(), *options)

    def start(self, name: str, *options: str, cpus: int = 1, **environment: str) -> Node:
        """Start the node of a host, which joins the head's cluster.

        :param options: further ones of `ray start`.
        :param cpus: its cores.
        :param environment: variables of this node alone.
        """
        joins = [f"--address={self.address}", f"--num-cpus={cpus}"]
        node = Node(self.net.hosts[name], self._folder, self._of_a_node() | environment, *joins, *options)
        self.nodes[name] = node
        return node

    def _of_a_node(self) -> dict[str, str]:
        return self.environment | {"TESSERAL_NODE": "1"}

    def drive(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """A command of tesseral beside the head."""
        command = [sys.executable, "-m", "tesseral.cluster.commands.cli", *arguments]
        environment = self.environment | {"RAY_ADDRESS": self.address}
        with log.open("ab") as file:
            return subprocess.Popen(
                self.nodes["head"].inside(*command), stdout=file, stderr=subprocess.STDOUT, env=environment
            )

    def wait_for_nodes(self) -> None:
        """Until all nodes have started."""
        self._wait(list(self.nodes))

    def wait_for_head(self) -> None:
        """Until the head has started."""
        self._wait(["head"])

    def _wait(self, names: list[str]) -> None:
        end = time.monotonic() + START_WITHIN
        while missing := [name for name in names if not self.nodes[name].up]:
            assert time.monotonic() < end, f"not started: {', '.join(missing)}"
            time.sleep(0.5)


@contextmanager
def ray_hosts(*names: str, environment: Mapping[str, str] = {}) -> Iterator[Hosts]:
    """A head and hosts for worker nodes of these names, which are started by `Hosts.start`."""
    folder = Path(tempfile.mkdtemp(prefix="tess-", dir="/var/tmp"))
    RAY.mkdir(exist_ok=True)
    try:
        with network("head", *names) as net:
            hosts = Hosts(net, folder, environment)
            try:
                hosts.wait_for_head()
                yield hosts
            finally:
                for node in list(hosts.nodes.values()):
                    node.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
