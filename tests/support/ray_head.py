"""A Ray head of a test's own on loopback, with a token and a job server. Never `ray stop`: it would end every Ray."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST = 'echo -10 2>/dev/null >"/proc/$$/autogroup"; exec "$@"'
RAY = ("bash", "-c", FIRST, "bash", sys.executable, "-m", "ray.scripts.scripts")
"""Ray's command. Its servers give up what takes them longer than some seconds, 15 of them while a node starts. So on a
busy machine their session goes before other work, where Linux lets this user ask for it."""
STARTS = 5
"""How often a head is started, at most: Ray gives one up that takes longer than 30 s."""
STARTED = "This command will now block"
"""What `ray start --block` says once all runs. A head answers before, and may yet give up."""


@dataclass(frozen=True)
class Head:
    """A head that runs."""

    address: str
    """Of its job server."""
    gcs: str
    """What RAY_ADDRESS names."""
    token: str
    folder: Path
    """Ray's folder, with its logs; `token` in it is the file of the token."""

    @property
    def environment(self) -> dict[str, str]:
        """By which a command reaches it."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}

    def tesseral(self, *words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own, as on a laptop.

        :param words: the command line without its first word.
        :param settings: further environment variables.
        """
        command = [sys.executable, "-m", "tesseral.cluster.commands.cli", *map(str, words)]
        environment = clean() | self.environment | settings
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, env=environment)


def clean() -> dict[str, str]:
    """The environment without what another Ray left in it."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def head(cpus: int = 2, *options: str, **settings: str) -> Iterator[Head]:
    """Start a head, and kill what was started.

    :param cpus: its cores.
    :param options: further ones of `ray start`.
    :param settings: further environment variables of the head, which its workers inherit.
    """
    folder = Path(tempfile.mkdtemp(prefix="h-", dir="/tmp"))  # short: Ray's sockets are below it
    token = secrets.token_hex(32)
    (folder / "token").write_text(token)
    port, dashboard = free_port(), free_port()
    known = Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", token, folder)
    command = [
        *(*RAY, "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={dashboard}", f"--num-cpus={cpus}"),
        *("--dashboard-host=127.0.0.1", "--dashboard-agent-listen-port=0", "--min-worker-port=0"),
        *("--max-worker-port=0", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}/r"),
        f"--object-store-memory={100 * 2**20}",
        *options,
    ]
    log = folder / "head" / "log"
    try:
        for start in range(STARTS):
            with _started(command, folder / "head", _of_a_node(known, settings)) as process:
                while process.poll() is None:
                    if STARTED in log.read_text() and _answers(known):
                        yield known
                        return
                    time.sleep(0.5)
                assert start + 1 < STARTS, log.read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_a_node(known: Head, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a node. What runs there is what was shipped: PYTHONPATH of the tests is not passed on."""
    environment = {key: value for key, value in clean().items() if key != "PYTHONPATH"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment |= known.environment | {"PATH": path, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    return environment | {**settings}


@contextmanager
def _started(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a node, and kill what it started: all whose environment names its folder."""
    folder.mkdir(exist_ok=True)
    environment |= {"TESSERAL_TEST_NODE": f"{folder}/"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            mark = f"TESSERAL_TEST_NODE={folder}/\0".encode()
            for path in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if mark in (path / "environ").read_bytes():
                        os.kill(int(path.name), signal.SIGKILL)
            process.wait(timeout=30)


def _answers(known: Head) -> bool:
    request = urllib.request.Request(f"{known.address}/api/jobs/", headers={"Authorization": f"Bearer {known.token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
