"""A local Ray: on loopback alone, with a token, and gone when its driver is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LISTEN = "0A"
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


def listening() -> set[tuple[str, str]]:
    """(address, inode) of the listening TCP sockets of this machine."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                sockets.add((fields[1].split(":")[0], fields[9]))
    return sockets


SESSION = """
import sys
from tesseral.cluster.execution.ray_session import ray, session
with session():
    assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    print("ready", flush=True)
    sys.stdin.read()
"""


def processes() -> set[str]:
    """Ray's servers and workers; its agents hold nothing, and take a minute to notice that they are alone."""
    return {path.name for path in Path("/proc").iterdir() if path.name.isdigit() and _is_ray(path)}


def _is_ray(path: Path) -> bool:
    try:
        command = (path / "cmdline").read_bytes()
    except OSError:
        return False
    return (
        b"gcs_server" in command or b"raylet" in command or (command.startswith(b"ray::") and b"Agent" not in command)
    )


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_nothing_listens_beyond_loopback_and_nothing_outlives_the_driver():
    before, ray_before = listening(), processes()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-c", SESSION]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout.readline() == "ready\n"
        opened = listening() - before
        assert len(opened) >= 4
        assert {address for address, _ in opened} <= set(LOOPBACK)
        assert processes() - ray_before
        driver.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while processes() - ray_before:
        assert time.monotonic() < end, "Ray's processes outlive a killed driver"
        time.sleep(0.2)
