"""Hosts with addresses of their own on this machine: network namespaces, and a switch between them that can disturb.

The switch is a thread that passes Ethernet frames between a TAP device in each namespace. So frames can be delayed,
lost and held back on any kernel; `tc netem`, which does the same, is a module that many lack. Needs root.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

SUBNET = "10.77.0"
TAP, NO_HEADER, ATTACH = 0x0002, 0x1000, 0x400454CA
NEW_NETWORK = 0x40000000
R = TypeVar("R")
BROADCAST = 1
"""Bit of the first byte of an Ethernet address that names a group."""


def possible() -> bool:
    """Whether this process may make network namespaces and TAP devices."""
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK) or shutil.which("ip") is None:
        return False
    name = f"tess-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


@dataclass
class Host:
    """A namespace: what runs in it has this address, and reaches the other hosts through the switch alone."""

    name: str
    address: str
    device: int
    """Descriptor of its TAP device."""
    delay: float = 0.0
    """Seconds that a frame takes from it, and to it."""
    loss: float = 0.0
    """Probability that a frame from it, or to it, is lost."""
    cut: bool = False
    """Whether it is cut off."""

    def command(self, *arguments: str) -> list[str]:
        """A command that runs on this host."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def call(self, function: Callable[[], R]) -> R:
        """Call a function of this process on the host: its sockets are the host's."""

        def run() -> R:
            _enter(self.name)
            return function()

        with ThreadPoolExecutor(1) as thread:  # a namespace is a thread's own
            return thread.submit(run).result()

    def processes(self) -> list[int]:
        """Ids of the processes that run on it."""
        done = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]


class Network:
    """Hosts and the switch between them.

    :param names: of the hosts; the first has the address `SUBNET`.1.
    :param seed: of the frames that are lost.
    """

    def __init__(self, names: list[str], seed: int = 0) -> None:
        self.hosts = {name: _make(f"tess-{os.getpid()}-{name}", f"{SUBNET}.{n}") for n, name in enumerate(names, 1)}
        self.passed = self.lost = 0
        """Number of frames that were passed on, and that were lost at random."""
        self._random, self._stop = random.Random(seed), threading.Event()
        self._thread = threading.Thread(target=self._switch, name="switch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the switch and remove the namespaces."""
        self._stop.set()
        self._thread.join()
        for host in self.hosts.values():
            os.close(host.device)
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)

    def _switch(self) -> None:
        ports = {host.device: host for host in self.hosts.values()}
        homes: dict[bytes, Host] = {}
        due: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not self._stop.is_set():
            wait = min(max(due[0][0] - time.monotonic(), 0), 0.2) if due else 0.2
            ready, _, _ = select.select(list(ports), [], [], wait)
            now = time.monotonic()
            for device in ready:
                with suppress(OSError):  # its host is being removed
                    frame, source = os.read(device, 65536), ports[device]
                    homes[frame[6:12]] = source
                    group = frame[0] & BROADCAST or frame[:6] not in homes
                    for target in ports.values() if group else [homes[frame[:6]]]:
                        if target is not source and self._passes(source, target):
                            number += 1
                            heapq.heappush(due, (now + source.delay + target.delay, number, target.device, frame))
            while due and due[0][0] <= now:
                _, _, device, frame = heapq.heappop(due)
                with suppress(OSError):
                    os.write(device, frame)

    def _passes(self, source: Host, target: Host) -> bool:
        if source.cut or target.cut:
            return False
        if any(host.loss and self._random.random() < host.loss for host in (source, target)):
            self.lost += 1
            return False
        self.passed += 1
        return True


@contextmanager
def network(*names: str) -> Iterator[Network]:
    """Hosts for a block of code. Whatever still runs on them at its end is killed."""
    made = Network(list(names))
    try:
        yield made
    finally:
        for host in made.hosts.values():
            for pid in host.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
        made.close()


def _make(name: str, address: str) -> Host:
    _ip("netns", "add", name)
    devices: list[int] = []
    thread = threading.Thread(target=_open, args=(name, devices))  # a namespace is a thread's own
    thread.start()
    thread.join()
    for command in (
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
    ):
        _ip("-n", name, *command)
    return Host(name, address, devices[0])


def _open(name: str, devices: list[int]) -> None:
    _enter(name)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, ATTACH, struct.pack("16sH", b"eth0", TAP | NO_HEADER))
    devices.append(device)


def _enter(name: str) -> None:
    """Put this thread into a namespace."""
    with Path(f"/run/netns/{name}").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
