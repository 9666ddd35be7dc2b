"""File operations that fail once: which ones a command makes, and what it does when one of them fails.

    python -m tests.support.failing_files FOLDER scandir 'curves/trial=*' 1 EIO -- run study.toml --storage FOLDER

runs a command of tesseral in which the first listing of such a folder below FOLDER fails.
"""

import builtins
import errno
import io
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ERRORS = ("EIO", "ENOSPC", "EACCES")

_VARYING = re.compile(r"[0-9a-f]{10,}|\d+")
"""Parts of a path that differ between two operations of the same kind: ids, hashes and numbers."""


class Failure(NamedTuple):
    """One operation that fails once."""

    operation: str
    path: str
    """Relative to the folder, with `*` in the place of ids, hashes and numbers."""
    occurrence: int
    """1 for the first time that the operation is made on such a path."""
    error: str
    """Such as `EIO`; or a signal, such as `SIGKILL`, that the process gets there."""


class Watched:
    """Every operation on files below `folder` is counted, and the chosen one fails once.

    Listings fail at their first entry, too (`next`); files at their first read or write.
    """

    def __init__(self, folder: Path, failure: Failure | None = None) -> None:
        self.folder, self.failure = str(folder), failure
        self.counts: Counter[tuple[str, str]] = Counter()
        self.met = False

    def meet(self, operation: str, path: Any) -> None:
        """Count an operation, and fail it if it is the chosen one."""
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if not name.startswith(self.folder):
            return
        key = operation, _VARYING.sub("*", name[len(self.folder) :].lstrip("/"))
        self.counts[key] += 1
        failure = self.failure
        if failure and key == failure[:2] and self.counts[key] == failure.occurrence:
            self.met = True
            if failure.error.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, failure.error))
                return
            number = getattr(errno, failure.error)
            raise OSError(number, os.strerror(number), name)

    def install(self) -> None:
        """Replace the functions of `os` and `open` in this process."""
        for operation in ("open", "link", "unlink", "mkdir", "replace", "rename", "stat", "lstat", "rmdir"):
            setattr(os, operation, self._failing(operation, getattr(os, operation)))
        descriptors, fsync, opened = {}, os.fsync, os.open

        def remember(path: Any, *arguments: Any, **options: Any) -> int:
            descriptors[number := opened(path, *arguments, **options)] = path
            return number

        def sync(number: Any) -> None:
            self.meet("fsync", descriptors.get(number) or _path_of(number))
            fsync(number)

        os.open, os.fsync = remember, sync
        scandir, unwatched = os.scandir, io.open

        def listing(path: Any = ".") -> Any:
            self.meet("scandir", path)
            return _Entries(scandir(path), lambda: self.meet("next", path))

        def watched(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            self.meet("open", file)
            defaults = (-1, None, None, None)  # as pathlib gives them
            plain = mode in ("rb", "wb") and arguments == defaults[: len(arguments)] and not options
            if not plain or not isinstance(file, str | os.PathLike) or not os.fspath(file).startswith(self.folder):
                return unwatched(file, mode, *arguments, **options)
            raw = _Raw(os.fspath(file), mode[0], self)
            return io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)

        os.scandir, io.open, builtins.open = listing, watched, watched

    def _failing(self, operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(path: Any, *arguments: Any, **options: Any) -> Any:
            self.meet(operation, arguments[0] if operation in ("link", "replace", "rename") else path)
            return function(path, *arguments, **options)

        return watched


class _Raw(io.FileIO):
    def __init__(self, path: str, mode: str, watched: Watched) -> None:
        super().__init__(path, mode)
        self._meet = watched.meet

    def readinto(self, buffer: Any) -> Any:
        self._meet("read", self.name)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._meet("read", self.name)
        return super().readall()

    def write(self, data: Any) -> Any:
        self._meet("write", self.name)
        return super().write(data)


class _Entries:
    """An iterator as `os.scandir` returns it."""

    def __init__(self, entries: Any, meet: Callable[[], None]) -> None:
        self._entries, self._meet = entries, meet

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._meet()
        return next(self._entries)

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries.close()


def _path_of(number: Any) -> str:
    return os.readlink(f"/proc/self/fd/{number if isinstance(number, int) else number.fileno()}")


def main() -> None:
    """Run one command with one failure."""
    folder, operation, path, occurrence, error, _, *arguments = sys.argv[1:]
    from tesseral.cluster.commands import cli

    Watched(Path(folder), Failure(operation, path, int(occurrence), error)).install()
    sys.argv = ["tesseral", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
