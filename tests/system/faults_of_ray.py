"""Kills of what Ray runs: workers while they train, then the raylet, the head or the driver."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.disturbed import Found, Numbers, difference, numbers
from tests.support.forked_commands import Ended
from tests.support.processes import children, training
from tests.support.water_study import make_water, water_study

NAME = "killed"
WORKERS = 4
"""Kills of workers while a driver runs."""
DRIVERS = 6


class Last(NamedTuple):
    """What is killed last, which ends the driver."""

    name: str
    process: str | None
    """The driver's child that is meant; None: the driver itself."""
    signal: int
    codes: tuple[int, ...]
    """Exit codes of the driver."""


LASTS = (
    Last("raylet", "raylet", signal.SIGKILL, (1,)),
    Last("head", "gcs_server", signal.SIGKILL, (1,)),
    Last("driver", None, signal.SIGKILL, (-signal.SIGKILL,)),
    Last("driver, terminated", None, signal.SIGTERM, (143,)),
)


def try_ray(found: Found, share: float = 1.0, seed: int = 0) -> None:
    """Run a study by Ray again and again, each time killing workers and then what ends its driver."""
    chosen = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    make_water(folder / "runs")
    text = water_study(NAME, blocks=2, epochs=60)
    (folder / "study.toml").write_text(text)
    assert _finish(folder).code == 0
    undisturbed = numbers(folder / "runs", NAME)
    shutil.rmtree(folder / "runs" / NAME)
    cases = [(LASTS[n % len(LASTS)], random.Random(chosen.random())) for n in range(round(DRIVERS * share) or 1)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda case: _try(found, folder, undisturbed, *case), cases))


def _try(found: Found, source: Path, undisturbed: Numbers, last: Last, chosen: random.Random) -> None:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    shutil.copytree(source, folder, dirs_exist_ok=True)
    records = folder / "runs" / NAME
    with _driver(folder) as driver:
        for _ in range(WORKERS):
            if _when(driver, lambda: training(records), chosen):
                _kill(chosen.choice(training(records) or [0]), signal.SIGKILL)
                found.count("kills of a worker of Ray")
        met = _when(driver, lambda: training(records), chosen)
        if met:
            found.count(f"kills of Ray's {last.name}")
            _kill(children(driver.pid, last.process)[0] if last.process else driver.pid, last.signal)
        try:
            text, hung = driver.communicate(timeout=60)[0], False
        except subprocess.TimeoutExpired:
            driver.kill()
            text, hung = driver.communicate()[0], True
    ended = Ended(driver.returncode, text, hung)
    found.judge(last.name, ended)
    if met and driver.returncode not in (*last.codes, 0):  # 0: the study ended first
        found.failed("tracebacks", last.name, ended, f"expected exit {last.codes}")
    again = _finish(folder)
    if again.code or (why := difference(folder / "runs", NAME, undisturbed)):
        found.failed("not whole after the same command again", last.name, again, "" if again.code else why)
    shutil.rmtree(folder)


def _command(folder: Path, executor: str) -> list[str]:
    words = ["run", str(folder / "study.toml"), "--storage", str(folder / "runs")]
    return [sys.executable, "-m", "tesseral.cluster.commands.cli", *words, "--executor", executor, "--lease", "4"]


@contextmanager
def _driver(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver with a Ray of its own, whose folder is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as short:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        environment = os.environ | {"TMPDIR": short}
        with subprocess.Popen(_command(folder, "ray"), **streams, text=True, env=environment) as driver:
            yield driver


def _when(driver: subprocess.Popen[str], ready: Callable[[], object], chosen: random.Random) -> bool:
    """Wait until something is, and a moment of up to a second more; return whether the driver still runs."""
    end = time.monotonic() + 180
    while not ready() and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(chosen.random())
    return driver.poll() is None


def _kill(process: int, number: int) -> None:
    """Send a signal, unless the process has just ended."""
    if process and Path(f"/proc/{process}").exists():
        os.kill(process, number)


def _finish(folder: Path) -> Ended:
    """Run the study to its end, in one process."""
    done = subprocess.run(_command(folder, "inline"), capture_output=True, text=True, check=False, timeout=300)
    return Ended(done.returncode, done.stdout + done.stderr)
