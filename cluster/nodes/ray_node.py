"""One node of a Ray that belongs to a single job, on a machine that other jobs may share: for Slurm and its like.

    python -m tesseral.cluster.nodes.ray_node head --peer ADDRESS
    python -m tesseral.cluster.nodes.ray_node worker --address HEAD:PORT

Batch systems separate neither ports nor temporary folders, and many hosts resolve their own name to loopback. Here a
node takes a range of ports that no other job takes, a folder that its user alone can read, and the address by which it
reaches the other nodes. Every connection must show the token in RAY_AUTH_TOKEN. No other Ray is joined or ended.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tesseral.cluster.nodes.ray_machine import cores, private_folder
from tesseral.study.errors import ClusterError, TesseralError

FIRST_PORT = 11_000
"""First port of all ranges. The last one lies below 32768, where Linux takes the ports of outgoing connections."""
PORTS = 512
"""Ports of a node: its servers, and one for each worker process."""
RANGES = 42
"""Number of ranges of ports on a machine."""
SERVERS = (
    "--node-manager-port",
    "--object-manager-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)
"""Options that name a port on every node, in the order of the range."""
HEAD_SERVERS = ("--port", "--ray-client-server-port", "--dashboard-port")
"""Options that name a port on the head alone. They follow `SERVERS`."""
HEAD_METRICS = ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")
"""Environment variables that name a port on the head alone. They follow `HEAD_SERVERS`."""
WORKERS_FROM = 16
"""Place of the first worker's port in the range."""
OBJECT_STORE = 200 * 2**20
"""Shared memory of a node, in bytes: trials send nothing through it, and Ray's default is a third of the memory."""
STARTED = "ray_current_cluster"
"""File that `ray start` writes into its folder once the servers have started."""
STARTS = 5
"""How often the servers are started. `ray start` gives up after 30 s, which a busy machine exceeds."""
PAUSE = 2.0
"""Seconds between two starts."""
KEEP_WITHIN = 20.0
"""Seconds that a worker's trials have to keep a checkpoint after SIGTERM, while the driver lives."""


@dataclass(frozen=True)
class Ports:
    """A range of ports that no other job on this machine takes.

    :param first: the first of `PORTS` ports.
    """

    first: int

    def options(self, head: bool) -> list[str]:
        """Options of `ray start`."""
        names = SERVERS + (HEAD_SERVERS if head else ())
        workers = (self.first + WORKERS_FROM, self.first + PORTS - 1)
        return [
            *(f"{name}={self.first + place}" for place, name in enumerate(names)),
            f"--min-worker-port={workers[0]}",
            f"--max-worker-port={workers[1]}",
        ]

    @property
    def head(self) -> int:
        """The port at which a head answers."""
        return self.first + len(SERVERS)

    def environment(self) -> dict[str, str]:
        """Environment of a head."""
        first = self.head + len(HEAD_SERVERS)
        return {name: str(first + place) for place, name in enumerate(HEAD_METRICS)}


@contextmanager
def own_ports(start: int = 0) -> Iterator[Ports]:
    """Take a range of ports for as long as this process lives.

    A name in Linux's abstract namespace marks the range as taken, for all users; the kernel frees it with the process.

    :param start: number of the range that is tried first, such as the job's id, so that jobs rarely meet.
    :raises ClusterError: if every range is taken.
    """
    for number in range(start, start + RANGES):
        first = FIRST_PORT + PORTS * (number % RANGES)
        with closing(socket.socket(socket.AF_UNIX)) as mark:
            try:
                mark.bind(f"\0tesseral-ports-{first}")
            except OSError:
                continue
            if all(_free(first + place) for place in range(WORKERS_FROM)):
                yield Ports(first)
                return
    raise ClusterError(
        f"expected {PORTS} free ports between {FIRST_PORT} and {FIRST_PORT + PORTS * RANGES - 1}, but all "
        f"{RANGES} ranges are taken on {socket.gethostname()}"
    )


def _free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def own_address(peer: str) -> str:
    """The address by which this machine reaches another, and can be reached from it. No packet is sent.

    :param peer: name or address of the other machine.
    :raises ClusterError: if it cannot be reached.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(peer, 9, type=socket.SOCK_DGRAM)[0]
        with closing(socket.socket(family, kind)) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ClusterError(f"expected a machine of this job, got {peer!r}: {error.strerror or error}") from error


def answers(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=2)):
            return True
    except OSError:
        return False


def start(ports: Ports, folder: str, address: str, head: str, resources: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start Ray's servers of this node.

    :param ports: the node's own.
    :param folder: for Ray's logs and sockets.
    :param address: of this machine.
    :param head: HOST:PORT of the head; empty to start one.
    :param resources: further options of `ray start`.
    """
    options = [f"--node-ip-address={address}", f"--temp-dir={folder}", f"--object-store-memory={OBJECT_STORE}"]
    role = [f"--address={head}"] if head else ["--head", "--include-dashboard=false"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    if not head:
        environment |= ports.environment()
    return subprocess.Popen(  # noqa: S603
        [*command, *role, *options, *ports.options(not head), *resources],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        start_new_session=True,
    )


def run(head: str, peer: str, resources: Sequence[str], job: int) -> int:
    """Be a node of this job's Ray until SIGTERM, or until Ray ends. A head says its address on standard output.

    :param head: HOST:PORT of the head; empty to be one.
    :param peer: another machine of the job.
    :param resources: options of `ray start`.
    :param job: the job's number.
    :returns: exit code.
    :raises ClusterError: if no range of ports is free, or `peer` is no machine.
    :raises TesseralError: if there is no token.
    """
    if not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        raise TesseralError("RAY_AUTH_TOKEN: expected the token of this job, got none")
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    address = own_address(peer)
    with own_ports(job) as ports, private_folder() as folder:
        for _ in range(STARTS):
            node = start(ports, folder, address, head, resources)
            try:
                if head:
                    _stay(node, asked, head)
                elif _lead(node, asked, Path(folder, STARTED), f"{address}:{ports.head}"):
                    return 0 if asked else 1
            finally:
                _end(node)
            if asked or (head and not answers(head)):
                break
            time.sleep(PAUSE)
    return 0 if asked else 1


def _lead(node: "subprocess.Popen[bytes]", asked: Sequence[int], started: Path, address: str) -> bool:
    """Say the address once the head has started, and wait until it ends or is asked to.

    :returns: whether it had started.
    """
    while not started.exists():
        if asked or node.poll() is not None:
            return False
        time.sleep(0.2)
    print(address, flush=True)
    while not asked and node.poll() is None:
        time.sleep(0.2)
    return True


def _stay(node: "subprocess.Popen[bytes]", asked: Sequence[int], head: str) -> None:
    """Wait until the worker's servers end, or are asked to and the driver has gone."""
    while not asked and node.poll() is None:
        time.sleep(0.2)
    end = time.monotonic() + KEEP_WITHIN
    while asked and node.poll() is None and time.monotonic() < end and answers(head):
        time.sleep(0.5)  # the driver has heard the signal too, and its trials keep a checkpoint


def _end(node: "subprocess.Popen[bytes]") -> None:
    """End Ray's servers of this node, which `ray start --block` does when it is asked to."""
    node.terminate()
    try:
        node.wait(10)
    except subprocess.TimeoutExpired:
        node.kill()  # its servers end with it
        node.wait()


def _of_this_job() -> list[str]:
    """Options of `ray start` for what the job may use of this machine. Ray itself counts the GPUs that it sees."""
    memory = os.environ.get("SLURM_MEM_PER_NODE", "")  # MB
    bound = [f"--memory={int(memory) * 2**20}"] if memory.isdecimal() and int(memory) else []
    return [f"--num-cpus={cores()}", *bound]


def main() -> None:
    """Be a head or a worker."""
    parser = argparse.ArgumentParser(description="One node of a Ray that belongs to a single job.")
    parser.add_argument("role", choices=["head", "worker"])
    parser.add_argument("--address", default="", help="HOST:PORT that the head said; for a worker")
    parser.add_argument("--peer", default="127.0.0.1", help="another machine of the job; for a head")
    parser.add_argument("--job", type=int, default=0, help="the job's number, which spreads the ports of jobs")
    options = parser.parse_args()
    if (options.role == "worker") != bool(options.address):
        parser.error("expected --address HOST:PORT with a worker, and none with a head")
    resources = _of_this_job() if options.role == "worker" else ["--num-cpus=0", "--num-gpus=0"]
    peer = options.address.rpartition(":")[0].strip("[]") or options.peer
    try:
        sys.exit(run(options.address, peer, resources, options.job))
    except (TesseralError, ClusterError) as error:
        print(f"tesseral: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
