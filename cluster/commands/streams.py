"""Standard output and error that never stop the work: closed, full, of few characters, or a pipe that ends."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PLAIN = {
    "−": "-", "–": "-", "—": "-", "·": ".", "×": "x", "→": "->", "←": "<-", "…": "...", "•": "*", "≤": "<=", "≥": ">=",
    "±": "+-", "≈": "~", "∫": "int ", "∞": "inf", "²": "^2", "³": "^3", "Å": "A", "°": " deg", "µ": "u", "μ": "mu",
    "Δ": "Delta", "ε": "epsilon", "ρ": "rho", "‘": "'", "’": "'", "“": "'", "”": "'", "\u202f": " ", "\u00a0": " ",
}  # fmt: skip
"""Character → what is printed where the encoding lacks it. Others are escaped, such as \\u03c3."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    shown = "".join(PLAIN.get(sign, f"\\u{ord(sign):04x}") for sign in lacking)
    return shown, error.end


codecs.register_error("tesseral-plain", _plain)


class _Forgiving(io.FileIO):
    """A file whose errors are kept and stop nobody."""

    fault: OSError | None = None

    def write(self, data: "bytes | bytearray | memoryview", /) -> int | None:  # type: ignore[override]
        """Write, or keep the first error."""
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return memoryview(data).nbytes


@contextmanager
def dependable() -> Iterator[None]:
    """Make standard output and error dependable for a command. At its end, errors of the output are said."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets this number, which the next file would get otherwise
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _opened(sys.stdout, 1), _opened(sys.stderr, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        if fault := lost():
            print(f"tesseral: standard output cannot be written: {fault.strerror}", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def lost() -> OSError | None:
    """The error by which standard output was lost; None if it was written, or its reader wanted no more."""
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    fault = raw.fault if isinstance(raw, _Forgiving) else None
    return None if fault is None or fault.errno == errno.EPIPE else fault


def printed() -> None:
    """End a command whose only result is what it prints: exit with 1 if that was lost."""
    if lost():
        sys.exit(1)


def _raw(stream: TextIO) -> object:
    """The file behind a stream, which Python leaves unbuffered under PYTHONUNBUFFERED."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _opened(stream: TextIO | None, number: int) -> TextIO:
    """A stream like this one on a file that forgives. Where a test stands in for the stream, it stays."""
    if stream is not None and not isinstance(_raw(stream), io.FileIO):
        return stream
    if stream is not None:
        stream.flush()
        number = stream.fileno()
    return io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(number, "w", closefd=False)),  # type: ignore[type-var]
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="tesseral-plain",
        write_through=bool(stream is not None and isinstance(stream.buffer, io.FileIO)),
        line_buffering=number == 2 or bool(stream is not None and stream.isatty()),
    )
