"""One driver per study: numbered leases, each kept alive by numbered beats.

The holder of lease n writes `lease/<n>/<beat>` several times within the length of the lease. A challenger creates
`lease/<n+1>/0` once it has seen no new beat for that length, by its own monotonic clock, because clocks of two machines
need not agree. It need not wait if the holder has left, or if boot id, process id and start time prove it dead. What
the holder of n writes afterwards does not count.
"""

import math
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tesseral.study.errors import LeaseHeldError, LeaseLostError, RecordError, StoreError
from tesseral.study.records.document import read_document, seal
from tesseral.study.records.store import Store

LENGTH = 30.0
"""Seconds without a beat after which a lease may be taken over."""

FRESH = 1 / 30
"""Part of a lease's length for which it counts as seen that no other driver came, where a write is harmless."""

_LEFT = "left"


def newest(store: Store) -> int:
    """Return the highest lease number; 0 if there is none.

    :param store: the study's records.
    """
    names = (path.split("/")[1] for path in store.paths("lease"))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def driver(store: Store) -> "Holder | None":
    """Return who drives the study, without waiting; None if its last driver has left or is dead.

    :param store: the study's records.
    """
    number = newest(store)
    holder = _holder(store, number) if number else None
    gone = holder is None or holder.dead or store.read(f"lease/{number}/{_LEFT}") is not None
    return None if gone else holder


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease, described so that its death can be proved on the same machine."""

    host: str
    boot: str
    """Boot id of the machine and its process-id namespace: a process id is unique only within both."""
    pid: int
    started: int
    """Start time of the process, in clock ticks after boot. With it, a reused process id is recognised."""
    since: str
    length: float
    """Seconds without a beat after which it may be superseded."""

    @classmethod
    def this_process(cls, length: float) -> Self:
        """Describe this process.

        :param length: of the lease, s.
        """
        return cls(
            socket.gethostname(),
            _boot(),
            os.getpid(),
            _start_time(os.getpid()) or 0,
            datetime.now(UTC).isoformat(),
            length,
        )

    @property
    def dead(self) -> bool:
        """Whether the process is proved dead: same boot and namespace, and no such process."""
        return self.boot != "" and self.boot == _boot() and _start_time(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since[:19].replace('T', ' ')} UTC"


class Lease:
    """A lease that this process holds. A thread writes beats until it is released."""

    def __init__(self, store: Store, number: int, length: float) -> None:
        self.store = store
        self.number = number
        self.length = length
        self.lost = threading.Event()
        self._trouble: StoreError | RecordError | None = None
        self._seen = -math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{number}", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(
        cls,
        store: Store,
        length: float = LENGTH,
        *,
        above: int = 0,
        on_wait: Callable[[Holder, float], None] = lambda holder, seconds: None,
    ) -> Self:
        """Take the lease of a study, after waiting for a silent holder.

        :param store: the study's records.
        :param length: length of the new lease, s. A present holder has the length that it stated.
        :param above: number that the lease must exceed: the highest under which an attempt began. It matters only if
            the records of earlier leases were deleted.
        :param on_wait: called about once a second with the holder and the seconds left.
        :raises LeaseHeldError: if the holder is alive: it has written a new beat.
        """
        while True:
            number = newest(store)
            if number and not cls._free(store, number, on_wait):
                raise LeaseHeldError(f"the study is held by {_holder(store, number)}")
            number = max(number, above)
            body = seal(vars(Holder.this_process(length)))
            if store.create(f"lease/{number + 1}/0", body):
                return cls(store, number + 1, length)

    @staticmethod
    def _free(store: Store, number: int, on_wait: Callable[[Holder, float], None]) -> bool:
        beats = store.paths(f"lease/{number}")
        holder = _holder(store, number)
        if f"lease/{number}/{_LEFT}" in beats or holder is None or holder.dead:
            return True
        # The holder's own length: it may be longer than ours, and is what the holder keeps to.
        seen, until = beats, time.monotonic() + holder.length
        while (left := until - time.monotonic()) > 0:
            on_wait(holder, left)
            time.sleep(min(1.0, left))
            beats = store.paths(f"lease/{number}")
            if f"lease/{number}/{_LEFT}" in beats or newest(store) != number:
                return True
            if beats != seen:
                return False
        return True

    def _beat(self) -> None:
        beat, last = 0, time.monotonic()
        # Six beats in a lease's length: a challenger sees one even if a paused machine or a slow store loses several.
        while not self._stop.wait(self.length / 6):
            try:
                if newest(self.store) > self.number:
                    break
                # Created before the last one is deleted, so that a listing in between is never empty. Beat 0 stays: it
                # says who holds the lease.
                self.store.create(f"lease/{self.number}/{beat + 1}", b"{}")
                if beat:
                    self.store.delete([f"lease/{self.number}/{beat}"])
            except RecordError as error:
                self._trouble = error  # something else stands in the lease's place
                break
            except StoreError as error:
                # The store has been tried for as long as its patience lasts. A shorter silence loses nothing: if no
                # other driver came meanwhile, `newest` says so, and the lease goes on.
                if time.monotonic() - last > self.length:
                    self._trouble = error
                    break
            else:
                beat, last = beat + 1, time.monotonic()
        else:
            return
        self.lost.set()

    def check(self, fresh: bool = True) -> None:
        """Check that this process still holds the lease, by what the store holds now.

        :param fresh: whether the store must be asked. If not, an answer that is `FRESH` may stand.
        :raises LeaseLostError: if another driver has taken over.
        :raises StoreError: if the storage has failed for longer than the lease.
        :raises RecordError: if something else stands in the lease's place.
        """
        if self._trouble is not None:
            raise self._trouble
        now = _now()
        if not fresh and now - self._seen < FRESH * self.length and not self.lost.is_set():
            return
        if self.lost.is_set() or newest(self.store) > self.number:
            raise LeaseLostError("another driver took the study over; this one stops")
        self._seen = now

    def release(self) -> None:
        """Stop the beats and record that the holder has left."""
        self._stop.set()
        self._thread.join()
        if self.lost.is_set() and not isinstance(self._trouble, StoreError):
            return
        try:
            self.store.create(f"lease/{self.number}/{_LEFT}", b"{}")
        except StoreError as error:  # the work is done: only the next driver has to wait
            warnings.warn(f"{error}; the next start waits up to {self.length:.0f} s for this one", stacklevel=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _holder(store: Store, number: int) -> Holder | None:
    """Return who took lease `number`; None if there is no record of it, or a damaged one, which is named."""
    try:
        tree = read_document(store, f"lease/{number}/0", Holder)
    except RecordError as error:
        warnings.warn(f"{error} (its lease counts as free)", stacklevel=3)
        return None
    return None if tree is None else Holder(**{item.name: tree[item.name] for item in fields(Holder)})


def _now() -> float:
    """Seconds from any moment on. On Linux they pass while the machine is suspended, too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _boot() -> str:
    """Return boot id and process-id namespace on Linux; empty elsewhere, where no death can be proved."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start_time(pid: int) -> int | None:
    """Return field 22 of /proc/<pid>/stat; None if there is no such process, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
