"""Where records lie: a local folder, NFS, or an object store (S3, GCS, Azure), behind one small class.

Every record is written in one act and most are create-only: whoever creates a name first has it, and a second
creation is told so. On an object store one PUT does that. A local folder is written here rather than by obstore,
which does not sync: the bytes go to a hidden temporary file, that is synced, linked to its name (which fails
if the name exists), and the folder is synced. So a name that can be seen holds all of its bytes, after a power
cut too. Hidden files (`.…`) are never listed.
"""

import json
import os
import re
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import ObjectStore, from_url

from tesseral.study.errors import RecordError

STORE_ERRORS = (OSError, obstore.exceptions.BaseError)
"""What reading and writing can raise: a full disk, a lost connection, missing permissions."""

ABANDONED = 3600.0
"""Seconds after which a file that a writer has not finished is one that it never will: it was killed."""

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")

Json = dict[str, Any]


class Store:
    """A folder or a prefix. Paths inside it are relative and use `/`."""

    def __init__(self, url: str | Path) -> None:
        """Open `url`: a path, or a URL such as `s3://bucket/prefix` (credentials come from the environment)."""
        self.url = str(url).removeprefix("file://").rstrip("/") or "/"
        self._root: Path | None = None
        self._remote: ObjectStore
        if "://" in self.url:
            try:
                self._remote = from_url(self.url)
            except (ValueError, obstore.exceptions.BaseError) as error:
                reason = str(error).splitlines()[0]
                raise RecordError(
                    f"expected a path or a URL such as s3://bucket/prefix, got {url!r}: {reason}"
                ) from None
        else:
            self._root = Path(self.url).absolute()
            self.url = str(self._root)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def child(self, name: str) -> Self:
        """The store of a subfolder."""
        return type(self)(self.location(name))

    def location(self, path: str) -> str:
        """The absolute path or URL of `path`, as Polars and pyarrow read it; what is one already stands for itself."""
        if "://" in path or path.startswith("/"):
            return path
        return f"{self.url.rstrip('/')}/{path}"

    def create(self, path: str, data: bytes) -> bool:
        """Write `data` unless `path` exists; True if this call created it. Durable when it returns."""
        if self._root is not None:
            return _write_synced(self._root / path, lambda file: file.write(data), replace=False)
        return self._put(path, data)

    def create_from(self, path: str, write: Callable[[IO[bytes]], object]) -> bool:
        """`create` with what `write` writes to a file, for more than memory should hold."""
        if self._root is not None:
            return _write_synced(self._root / path, write, replace=False)
        with tempfile.TemporaryFile() as file:
            write(file)
            file.seek(0)
            return self._put(path, file)

    def _put(self, path: str, data: bytes | IO[bytes]) -> bool:
        try:
            obstore.put(self._remote, path, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write `data` whether or not `path` exists, in one act. For what is derived: records use `create`."""
        if self._root is not None:
            _write_synced(self._root / path, lambda file: file.write(data), replace=True)
        else:
            obstore.put(self._remote, path, data)

    def read(self, path: str) -> bytes | None:
        """All bytes of `path`, or None if there is no such record."""
        if self._root is not None:
            try:
                return (self._root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            return bytes(obstore.get(self._remote, path).bytes())
        except (NotFoundError, FileNotFoundError):
            return None

    def paths(self, prefix: str = "") -> list[str]:
        """Sorted paths of all records below the folder `prefix`."""
        if self._root is not None:
            start = len(f"{self._root}/".replace("//", "/"))  # a study of 10,000 trials has 60,000 paths
            found = (
                f"{folder}/{name}"[start:]
                for folder, _, names in os.walk(self._root / prefix)
                for name in names
                if not name.startswith(".")
            )
            return sorted(found)
        chunks = obstore.list(self._remote, prefix or None)
        found = (entry["path"] for chunk in chunks for entry in chunk)
        return sorted(path for path in found if not path.rpartition("/")[2].startswith("."))

    def folders(self, prefix: str = "") -> list[str]:
        """Sorted names of the folders right below `prefix`."""
        if self._root is not None:
            try:
                with os.scandir(self._root / prefix) as entries:
                    found = [entry.name for entry in entries if entry.is_dir()]
            except (FileNotFoundError, NotADirectoryError):
                found = []
        else:
            listed = obstore.list_with_delimiter(self._remote, prefix or None)["common_prefixes"]
            found = [path.rstrip("/").rpartition("/")[2] for path in listed]
        return sorted(name for name in found if not name.startswith("."))

    def stale(self, seconds: float) -> list[str]:
        """What killed writers left behind that is older than this; an object store keeps nothing half-written."""
        if self._root is None:
            return []
        before = time.time() - seconds
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                if _TEMPORARY.fullmatch(name):
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):
                        if path.stat().st_mtime < before:
                            found.append(str(path.relative_to(self._root)))
        return found

    def delete(self, paths: list[str]) -> None:
        """Delete what exists of `paths`."""
        for path in paths:
            if self._root is not None:
                (self._root / path).unlink(missing_ok=True)
            else:
                try:
                    obstore.delete(self._remote, path)
                except (NotFoundError, FileNotFoundError):
                    continue


def _write_synced(path: Path, write: Callable[[IO[bytes]], object], *, replace: bool) -> bool:
    if not replace and path.exists():
        return False
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    for folder in (path.parent, *(one.parent for one in new)):
        _sync_folder(folder)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_document(store: Store, path: str, *keys: str) -> Json | None:
    """The JSON object at `path`; None if there is none, or if it is not ours: no JSON, or without one of `keys`."""
    data = store.read(path)
    if data is None:
        return None
    try:
        tree = json.loads(data)
    except ValueError:
        why = "it is torn, or no JSON"
    else:
        if isinstance(tree, dict) and all(key in tree for key in keys):
            return tree
        why = f"expected a JSON object with {', '.join(keys)}"
    warnings.warn(f"{store.location(path)} is left out: {why}", stacklevel=2)
    return None
