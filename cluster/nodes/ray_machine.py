"""What Ray needs of this machine and of the network, checked before it starts.

Ray meets a full disk, a limit or a wrong address with aborts, or by waiting for minutes. Here each is one sentence.
"""

import fcntl
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tesseral.study.errors import ClusterError, TesseralError

SOCKET_PATH = 107
"""Longest path of a Unix socket, in bytes."""
SOCKET_BELOW = 80
"""Bytes of such a path below the temporary folder: /tess-xxxxxxxx/r/session_<date, pid>/sockets/plasma_store."""
ROOM = 50 * 2**20
"""Free space that Ray needs for its logs, in bytes."""
FILES = 256
"""Open files that Ray needs, and as many again for each 8 cores."""
PROCESSES = 150
"""Processes and threads that Ray's servers need; each worker needs `WORKER` more."""
WORKER = 40
"""Threads of a worker and of its part in the servers."""
ANSWER = 5.0
"""Seconds in which the head of a cluster must answer."""
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of gRPC, which Ray's head speaks, sends first."""
HTTP2_SETTINGS = bytes([4])
"""Type of the frame with which a server answers, its fourth byte."""
PREFIX = "tess-"
"""Begin of the names of Ray's folders."""


def in_job() -> bool:
    """Whether this process is the driver of a submitted job. Ray kills it some seconds after the signal to stop."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def check_address(address: str) -> None:
    """Check that RAY_ADDRESS names a cluster that answers. Ray itself tries for minutes.

    :param address: value of RAY_ADDRESS.
    :raises TesseralError: if it is no address of a cluster.
    :raises ClusterError: if nothing answers there.
    """
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("", "ray") or host is None or port is None:
        why = " (an address of a dashboard, which takes jobs alone)" if parts.scheme in ("http", "https") else ""
        raise TesseralError(
            f"RAY_ADDRESS: expected the address of a Ray cluster's head, such as 10.0.0.1:6379, or ray://host:10001, "
            f"or auto, got {address!r}{why}; without RAY_ADDRESS this machine's cores are used"
        )
    try:
        with socket.create_connection((host, port), timeout=ANSWER) as connection:
            connection.sendall(HTTP2_GREETING)
            answer = b"" if _encrypted() else connection.recv(4)
    except OSError as error:
        raise ClusterError(
            f"RAY_ADDRESS: no Ray cluster answers at {address} ({error.strerror or error}); start it, correct the "
            "address, or leave RAY_ADDRESS out to use this machine's cores"
        ) from error
    if not _encrypted() and answer[3:] != HTTP2_SETTINGS:
        raise ClusterError(f"RAY_ADDRESS: expected the head of a Ray cluster, got another server at {address}")


class Head:
    """A connection to the head of a cluster, which closes when the head ends.

    Ray itself tries for a minute to reach a head that is gone, and aborts the process once another one answers there.

    :param address: host and port.
    :raises OSError: if nothing answers there.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._connect()

    def _connect(self) -> None:
        self._connection = socket.create_connection(self._address, timeout=ANSWER)
        self._connection.sendall(HTTP2_GREETING)
        self._connection.setblocking(False)

    @property
    def gone(self) -> bool:
        """Whether nothing answers at its address any more. A connection that the head closed is opened again."""
        try:
            while self._connection.recv(4096):
                continue
        except BlockingIOError:
            return False
        except OSError:
            pass
        self._connection.close()
        try:
            self._connect()
        except OSError:
            return True
        return False


def head_of(address: str) -> Head | None:
    """A connection to the head at an address; None where it cannot be watched.

    :param address: host and port.
    """
    if _encrypted():
        return None
    try:
        return Head(address)
    except (OSError, ValueError):
        return None


def _encrypted() -> bool:
    return os.environ.get("RAY_USE_TLS", "0") == "1"


def cores() -> int:
    """Number of CPU cores that this process may use: where Slurm binds none, those that it gave to the job."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(bound, int(given)) if given.isdecimal() and int(given) else bound


def check_limits(cores: int) -> None:
    """Check the limits of open files and processes. The soft limit of open files is raised where that is allowed.

    :param cores: number of CPU cores that Ray is to use.
    :raises ClusterError: if a limit is too low for Ray.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES * (1 + cores // 8)
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        if raised < needed:
            raise ClusterError(
                f"Ray needs {needed} open files, this process may have {raised}; raise the limit (ulimit -n), or use "
                "--executor inline"
            )
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    needed = PROCESSES + WORKER * cores
    if limit != resource.RLIM_INFINITY and os.geteuid() != 0:  # root has no such limit
        used = _threads_of_this_user()
        if limit - used < needed:
            raise ClusterError(
                f"Ray needs {needed} processes and threads, this user may have {limit} and has {used}; raise the "
                "limit (ulimit -u), or use --executor inline"
            )


def _threads_of_this_user() -> int:
    """Processes and threads of this user, as Linux counts them; 0 where they cannot be counted."""
    used = 0
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            if path.stat().st_uid == os.geteuid():
                used += len(os.listdir(path / "task"))
    return used


@contextmanager
def private_folder() -> Iterator[str]:
    """A folder for Ray that this user alone can read, removed at the end. Those of killed drivers are removed too.

    :raises ClusterError: if no temporary folder can be used.
    """
    folder, lock = _make()
    try:
        _sweep(Path(folder).parent)
        yield f"{folder}/r"  # Ray opens the one that it is given to everyone
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make() -> tuple[str, int]:
    """Make the folder, in the temporary folder or, where that is too long or full, in /tmp.

    :returns: its path, and a descriptor that locks it: a folder that another process can lock is abandoned.
    :raises ClusterError: if no temporary folder can be used.
    """
    faults = []
    for parent in dict.fromkeys([_temporary(), "/tmp"]):  # noqa: S108 - the new folder is private
        try:
            if why := _unfit(parent):
                faults.append(f"{parent}: {why}")
                continue
            folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            faults.append(f"{parent}: {error.strerror}")
        else:
            return folder, lock
    raise ClusterError(f"Ray finds no temporary folder for its logs and sockets: {'; '.join(faults)}; see TMPDIR")


def _unfit(parent: str) -> str:
    """Why Ray cannot use a temporary folder; empty if it can."""
    if len(os.fsencode(parent)) > SOCKET_PATH - SOCKET_BELOW:
        return f"longer than {SOCKET_PATH - SOCKET_BELOW} bytes, which Ray's sockets need"
    if shutil.disk_usage(parent).free < ROOM:
        return f"less than {ROOM // 2**20} MB are free"
    return ""


def _temporary() -> str:
    """The temporary folder, also where nothing can be written to it, which a caller then says."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return os.environ.get("TMPDIR", "/tmp")  # noqa: S108


def _sweep(parent: Path) -> None:
    """Remove the folders of killed drivers: those that nobody locks. An empty one may be about to be locked."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # locked, another user's, or removed by another driver
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid() and os.listdir(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
