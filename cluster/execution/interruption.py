"""Signals that come while a trial runs in this process: it keeps its state before they are obeyed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tesseral.cluster.nodes.ray_machine import in_job

KEEP_WITHIN = 10.0
"""Seconds that interrupted trials have to end their epoch and keep a checkpoint."""
RELEASE_WITHIN = 1.5
"""Seconds that the driver of a submitted job needs to release its study and end."""


def keep_within() -> float:
    """Seconds that interrupted trials have: less in a submitted job, which Ray kills 3 s after the signal to stop.

    RAY_JOB_STOP_WAIT_TIME_S, set where Ray is started, gives a job longer.
    """
    if not in_job():
        return KEEP_WITHIN
    return min(KEEP_WITHIN, max(0.5, float(os.environ.get("RAY_JOB_STOP_WAIT_TIME_S", "3")) - RELEASE_WITHIN))


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Hold back the signals that end this process by an exception: SIGINT, SIGTERM and SIGHUP.

    The first one is obeyed by the function that is yielded, after `keep_within`, or by Ctrl-C once more. Where signals
    are no business of Python's, outside of the main thread for example, nothing is held back.

    :returns: a function that calls the handler of the signal that came, if one did.
    """
    signals = _Signals()
    try:
        yield signals.obey
    finally:
        signals.release()


class _Signals:
    def __init__(self) -> None:
        self._came: int | None = None
        self._overdue = False
        self._timer: threading.Timer | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if callable(handler := signal.getsignal(number)):
                    self._handlers[number] = handler
                    signal.signal(number, self._hold)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._came is None:
            self._came = number
            self._timer = threading.Timer(keep_within(), self._insist)
            self._timer.daemon = True
            self._timer.start()
        elif self._overdue or number == signal.SIGINT:  # the others often come in pairs
            self.obey()

    def _insist(self) -> None:
        self._overdue = True
        os.kill(os.getpid(), self._came or signal.SIGINT)  # Python calls handlers in the main thread alone

    def obey(self) -> None:
        if self._came is not None:
            self.release()
            self._handlers[self._came](self._came, None)

    def release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
