"""Records in a local folder, or on a file system that several machines mount, such as NFS.

obstore can write to a folder too, but does not sync it to disk. Here the bytes go to a hidden temporary file, which is
synced and then linked to its name; the link fails if the name exists. Then the folder is synced. So a visible file is
always complete, even after a power cut.
"""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tesseral.study.errors import RecordError, StoreError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


class Folder:
    """A folder of records. Paths inside it are relative and use `/`.

    Every error but an absence is raised: `StoreError` if the file system failed, `RecordError` if something that is no
    record stands in the place of one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._start = f"{self.root}/".replace("//", "/")

    def create(self, path: str, write: Callable[[IO[bytes]], object]) -> bool:
        """Create a file, whole and on disk; False if something has this name."""
        return self._write(path, write, replace=False)

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in one act, whether or not it exists."""
        self._write(path, lambda file: file.write(data), replace=True)

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file; None if it does not exist."""
        try:
            with open(self._at(path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explained(path, "read", error) from error

    def digest(self, path: str) -> bytes | None:
        """Return the SHA-256 of a file; None if it does not exist."""
        try:
            with open(self._at(path), "rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explained(path, "read", error) from error

    def paths(self, prefix: str) -> list[str]:
        """Return the paths of all files below `prefix`, hidden ones left out."""
        # By string operations: a study of 10,000 trials has 60,000 paths.
        start = len(self._start)
        return [path[start:] for path in self._walk(self._at(prefix)) if path[path.rfind("/") + 1] != "."]

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders, and links to folders, directly below `prefix`; hidden ones left out."""
        try:
            with os.scandir(self._at(prefix)) as entries:
                return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._explained(prefix, "listed", error) from error

    def stale(self, seconds: float) -> list[str]:
        """Return temporary files of killed writers that are older than this."""
        before = time.time() - seconds
        start = len(self._start)
        abandoned = []
        for path in self._walk(str(self.root)):
            name = path[path.rfind("/") + 1 :]
            if name[0] == "." and _TEMPORARY.fullmatch(name):
                try:
                    if os.stat(path).st_mtime < before:
                        abandoned.append(path[start:])
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise self._explained(path[start:], "read", error) from error
        return abandoned

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        try:
            os.unlink(self._at(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._explained(path, "deleted", error) from error

    def _walk(self, folder: str) -> list[str]:
        """Every file below a folder. `os.walk` would take a folder that cannot be read for an empty one."""
        waiting, files = [folder], []
        while waiting:
            here = waiting.pop()
            try:
                with os.scandir(here) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            files.append(entry.path)
                        elif entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif entry.is_dir():
                            raise RecordError(f"expected a folder of records, got a link to one: {entry.path}")
                        else:
                            files.append(entry.path)
            except FileNotFoundError:
                continue  # nothing was written there, or another process has just deleted it
            except OSError as error:
                raise self._explained(here, "listed", error) from error
        return files

    def _write(self, path: str, write: Callable[[IO[bytes]], object], *, replace: bool) -> bool:
        target = self.root / path
        try:
            if not replace and os.path.lexists(target):
                return False
            new = [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
            try:
                with temporary.open("wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                if replace:
                    temporary.replace(target)
                elif not _linked(temporary, target):
                    return False
            finally:
                temporary.unlink(missing_ok=True)
            for folder in (target.parent, *(one.parent for one in new)):
                _sync(folder)
        except OSError as error:
            raise self._explained(path, "written", error) from error
        return True

    def _at(self, path: str) -> str:
        return self._start + path

    def _explained(self, path: str, done: str, error: OSError) -> RecordError | StoreError:
        """The error of the file system as a sentence with the place and the reason."""
        place = self.root / path
        if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
            got = "a folder" if isinstance(error, IsADirectoryError) else "a file in the place of a folder"
            return RecordError(f"expected a record at {place}, got {got}; move it away and run again")
        return StoreError(f"{place} cannot be {done}: {error.strerror or error}")


def _linked(temporary: Path, target: Path) -> bool:
    """Give a file its name; False if something has it."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
