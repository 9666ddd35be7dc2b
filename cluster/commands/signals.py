"""Signals that ask a command to end: Ctrl-C, a batch system's SIGTERM, and the SIGHUP of a terminal that closes."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
"""Signal → how the command says that it came."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(WORDS[signal.Signals(number)])

    @property
    def code(self) -> int:
        """The usual exit code: 130, 143 or 129."""
        return 128 + self.number


_raised = False
"""Whether a signal raises `Interrupted`. Otherwise it ends the command at once, while there is nothing to put down."""


@contextmanager
def heard() -> Iterator[None]:
    """Hear the signals, but for those that are ignored, as under nohup. The first one counts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in WORDS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def raised() -> Iterator[None]:
    """Within, the first signal raises `Interrupted`; a second Ctrl-C ends the command at once."""
    global _raised
    _raised = True
    try:
        yield
    finally:
        _raised = False


def _end(number: int, frame: FrameType | None) -> None:
    global _raised
    if not _raised:
        os.write(2, f"tesseral: {WORDS[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)
    _raised = False
    for other in WORDS:
        if other != signal.SIGINT and signal.getsignal(other) == _end:
            signal.signal(other, _pass)  # they often come in pairs, and the first one is being obeyed
    raise Interrupted(number)


def _pass(number: int, frame: FrameType | None) -> None:
    """Do nothing. SIG_IGN would be inherited by new processes."""
