"""The storage of records: a local folder, NFS, or an object store (S3, GCS, Azure).

Every record is written in one act, and most are create-only: the first to create a name wins, and a second creation
learns that it failed. A visible record is always complete. Hidden files (`.…`) are never listed.

An error is never an absence. `None`, `False` and an empty list are answers of the storage. Whatever keeps it from
answering is raised: `StoreError` if the storage fails, `RecordError` if a folder or link stands in a record's place.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self, TypeVar

from tesseral.study.errors import RecordError, StoreError
from tesseral.study.records.bucket import Bucket, refuse_credentials, temporary
from tesseral.study.records.folder import Folder

ABANDONED = 3600.0
"""Seconds after which an unfinished file is abandoned: its writer was killed."""

SIDE_BY_SIDE = 32
"""Requests to an object store that are under way at the same time."""

T = TypeVar("T")
R = TypeVar("R")

_CONFLICTS = 20
"""Times that a create is tried which is refused although nothing is there. S3 refuses one beside another so (409)."""


class Store:
    """A folder, or a prefix of an object store. Paths inside it are relative and use `/`."""

    def __init__(self, url: str | Path) -> None:
        """Open a store.

        :param url: a path, or a URL such as `s3://bucket/prefix`. Credentials come from the environment.
        :raises RecordError: if it is neither, or holds credentials.
        """
        self.url = str(url).removeprefix("file://").rstrip("/") or "/"
        self._place: Folder | Bucket
        if "://" in self.url:
            self._place = Bucket(self.url)
        else:
            self._place = Folder(Path(self.url))
            self.url = str(self._place.root)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def child(self, name: str) -> Self:
        """Return the store of a subfolder.

        :param name: of the subfolder.
        """
        return type(self)(self.location(name))

    def location(self, path: str) -> str:
        """Return the absolute path or URL of `path`, as Polars and pyarrow read it. An absolute one stays as it is.

        :param path: relative to the store, or absolute.
        :raises RecordError: if it is a URL that holds credentials.
        """
        if "://" in path:
            refuse_credentials(path)
        if "://" in path or path.startswith("/"):
            return path
        return f"{self.url.rstrip('/')}/{path}"

    def create(self, path: str, data: bytes) -> bool:
        """Write `data` unless `path` exists. It is on disk when this returns.

        :returns: whether `path` holds `data` now; False if another content was there first.
        :raises StoreError: if the storage fails.
        :raises RecordError: if something that is no record has this name.
        """
        return self.create_from(path, lambda file: file.write(data))

    def create_from(self, path: str, write: Callable[[IO[bytes]], object]) -> bool:
        """Create a file as `create` does, for data that memory should not hold.

        :param write: writes the data to the file that it is given. It may be called again and must write the same.
        :returns: as `create`.
        """
        for conflict in range(_CONFLICTS):
            if self._place.create(path, write):
                return True
            # Refused. The same content is ours: the answer to an earlier request was lost. S3 refuses with 409 while
            # another request for this name is under way, so there may also be nothing.
            there = self._place.digest(path)
            if there is not None:
                return there == _digest(write)
            time.sleep(min(0.05 * 2**conflict, 2.0))
        raise StoreError(f"{self.location(path)} can be neither created nor read: {_CONFLICTS} conflicts in a row")

    def replace(self, path: str, data: bytes) -> None:
        """Write `data` in one act, whether or not `path` exists. Only for derived files: records use `create`."""
        self._place.replace(path, data)

    def read(self, path: str) -> bytes | None:
        """Return the bytes of `path`; None if there is no such record."""
        return self._place.read(path)

    def paths(self, prefix: str = "") -> list[str]:
        """Return the sorted paths of all records below the folder `prefix`."""
        return sorted(self._place.paths(prefix))

    def each(self, read: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return what a function reads for each item; several at the same time where each answer crosses a network.

        :param read: reads records of this store. Any thread may call it.
        :param items: what it is called with.
        :raises Exception: what `read` raised for the first of the items.
        """
        if isinstance(self._place, Folder):
            return [read(item) for item in items]
        with ThreadPoolExecutor(SIDE_BY_SIDE, "store") as threads:
            return list(threads.map(read, items))

    def folders(self, prefix: str = "") -> list[str]:
        """Return the sorted names of the folders directly below `prefix`."""
        return sorted(self._place.folders(prefix))

    def stale(self, seconds: float) -> list[str]:
        """Return temporary files of killed writers that are older than this. An object store never has any."""
        return self._place.stale(seconds) if isinstance(self._place, Folder) else []

    def delete(self, paths: list[str]) -> None:
        """Delete those of `paths` that exist.

        :param paths: relative to the store.
        """
        for path in paths:
            self._place.delete(path)

    def hurry(self) -> None:
        """Wait no longer for a storage that is silent: each operation asks once, briefly, until it answers again."""
        if isinstance(self._place, Bucket):
            self._place.hurry()

    def check_conditional(self) -> None:
        """Check that the storage refuses to create a file twice: leases and outcomes depend on it.

        :raises RecordError: if it overwrites the first file.
        """
        probe = f".probe.{uuid.uuid4().hex}"  # hidden, and named like a temporary file, which a sweep deletes
        try:
            self.create(probe, b"1")
            if self.create(probe, b"2"):
                raise RecordError(
                    f"expected a storage that refuses to create a file twice, {self.url} overwrites it: records could "
                    "be lost there; use one with conditional writes (If-None-Match), such as S3, GCS, Azure or MinIO"
                )
        finally:
            self.delete([probe])


def _digest(write: Callable[[IO[bytes]], object]) -> bytes:
    """The SHA-256 of what is written."""
    with temporary() as file:
        write(file)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").digest()
