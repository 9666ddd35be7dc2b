"""A local Ray: on loopback alone, with a token, and gone when its driver is killed; and what it computes."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tesseral.study.errors import DataError

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
from tesseral.cluster.nodes.ray_session import ray, session
with session():
    assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    print("ready", flush=True)
    sys.stdin.read()
"""


def processes(mark: str) -> set[str]:
    """Ray's servers and workers with this mark in their environment; its agents hold nothing, and take a minute."""
    return {path.name for path in Path("/proc").iterdir() if path.name.isdigit() and _is_ray(path, mark.encode())}


def _is_ray(path: Path, mark: bytes) -> bool:
    try:
        command, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
    except OSError:
        return False
    server = b"gcs_server" in command or b"raylet" in command
    return mark in environment and (server or (command.startswith(b"ray::") and b"Agent" not in command))


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
@pytest.mark.parametrize("address", ["", pytest.param("local", marks=pytest.mark.long)])
def test_nothing_listens_beyond_loopback_and_nothing_outlives_the_driver(address):
    before, mark = listening(), f"TESSERAL_TEST={os.getpid()}{address}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"RAY_ADDRESS": address} | dict([mark.split("=")])
    command = [sys.executable, "-c", SESSION]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout.readline() == "ready\n"
        opened = listening() - before
        assert len(opened) >= 4
        assert {address for address, _ in opened} <= set(LOOPBACK)
        assert processes(mark)
        driver.send_signal(signal.SIGKILL)
    end = time.monotonic() + 120
    while processes(mark):
        assert time.monotonic() < end, "Ray's processes outlive a killed driver"
        time.sleep(0.2)


@pytest.mark.filterwarnings("ignore:memory for")
def test_an_item_reserves_what_a_node_has_on_which_it_may_run():
    from tesseral.cluster.nodes.ray_session import bounded

    sizes = {"small": 16, "large": 64}
    nodes = [{"NodeID": name, "Alive": True, "Resources": {"memory": size}} for name, size in sizes.items()]
    dead = {"NodeID": "dead", "Alive": False, "Resources": {"memory": 256}}
    assert [bounded(memory, [*nodes, dead]) for memory in (0, 32, 100)] == [0, 32, 64]
    assert bounded(32, [*nodes, dead], without=["large"]) == 16


class TestAsCompleted:
    """One local Ray for all."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _ray(cls) -> Iterator[None]:
        from tesseral.cluster.nodes.ray_session import session

        with session():
            yield

    def test_items_are_taken_as_cores_come_free(self):
        from tesseral.cluster.nodes.ray_session import AHEAD, as_completed, cores

        numbers = count(1)
        results = as_completed(lambda item: item * item, numbers, lambda item, why: 0)
        first = [next(results) for _ in range(20)]
        results.close()
        assert all(square == item * item for item, square in first)
        assert next(numbers) <= 20 + AHEAD * cores() + 1

    def test_an_item_whose_process_ends_is_lost_and_the_others_are_not(self, monkeypatch):
        from tesseral.cluster.nodes import ray_session

        monkeypatch.setattr(ray_session, "RETRIES", 1)

        def work(item: int) -> str:
            import os

            if item == 2:
                os._exit(1)
            return "done"

        by_item = dict(ray_session.as_completed(work, range(4), lambda item, why: f"{item}: {why}"))
        assert by_item.pop(2) == "2: its process was killed 2 times, perhaps for lack of memory"
        assert by_item == {0: "done", 1: "done", 3: "done"}

    def test_what_a_task_raises_is_raised(self):
        from tesseral.cluster.nodes.ray_session import as_completed

        def work(item: int) -> None:
            raise DataError("no such thing")

        with pytest.raises(DataError, match=r"^no such thing$"):
            list(as_completed(work, [1], lambda item, why: None))

    def test_memory_bounds_how_many_run_at_once_and_never_all(self):
        """More than there is is as much as there is: one runs at a time, and nothing waits for ever."""
        from tesseral.cluster.nodes.ray_session import as_completed, cores

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            by_item = dict(as_completed(lambda item: item, range(3), lambda item, why: 0, memory=2**50))
        assert by_item == {0: 0, 1: 1, 2: 2}
        said = [str(one.message) for one in caught if "at a time" in str(one.message)]
        assert len(said) == (cores() > 1)
        assert all(re.match(rf"memory for 1 at a time on {cores()} cores: \d+ MB are free", line) for line in said)


def test_a_call_outside_a_session_starts_no_ray():
    """A thread that outlives its session, waiting for a Ray that is gone, would start another one."""
    code = (
        "from tesseral.cluster.nodes.ray_session import ray\n"
        "try:\n    ray.put(1)\nexcept Exception as error:\n    print(type(error).__name__, ray.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "RaySystemError False\n"
