"""Reference data on a storage, a local folder or an object store: read whole, or opened for single columns."""

import io
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.models.data.reference_file import Reference, read_reference
from tesseral.study.errors import DataError, MissingDataError, StoreError
from tesseral.study.records.bucket import Bucket
from tesseral.study.records.store import Store


@lru_cache(maxsize=4)
def open_reference(storage: str, reference: str) -> Reference:
    """Read reference data as `read_stored` does, once in a process.

    :param storage: local folder or URL of an object store.
    :param reference: path within the storage, or an absolute path or URL.
    """
    return read_stored(storage, reference)


def read_stored(storage: str, reference: str) -> Reference:
    """Read and check reference data.

    :param storage: local folder or URL of an object store.
    :param reference: path within the storage, or an absolute path or URL.
    :raises MissingDataError: if there is no file.
    :raises DataError: if it is torn, damaged, or not reference data.
    :raises StoreError: if the storage fails.
    """
    location = Store(storage).location(reference)
    if "://" not in location:
        return read_reference(location)
    folder, _, name = location.rpartition("/")
    data = Store(folder).read(name)
    if data is None:
        raise MissingDataError(f"expected reference data at {location}, found nothing there")
    return read_reference(io.BytesIO(data), location)


def has_file(storage: str, reference: str) -> bool:
    """Whether there is a file of reference data, be it whole or torn.

    :param storage: local folder or URL of an object store.
    :param reference: path within the storage, or an absolute path or URL.
    """
    try:
        file = open_parquet(Store(storage).location(reference))
    except DataError:
        return True
    if file is None:
        return False
    file.close()
    return True


def open_parquet(location: str) -> pq.ParquetFile | None:
    """Open a Parquet file and read its footer; columns are read on demand, from an object store too.

    :param location: absolute path or URL.
    :returns: None if there is no file.
    :raises DataError: if it is torn, or not Parquet.
    :raises StoreError: if the storage fails.
    """
    try:
        return pq.ParquetFile(_Ranges(location) if "://" in location else location)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(f"{location} cannot be read: {reason}") from None  # damage has no number
        raise DataError(
            f"expected reference data that this recipe made, {location} cannot be read: {reason}; remove it"
        ) from None


class _Ranges(io.RawIOBase):
    """An object of an object store as a seekable file; each read is one request for a range of bytes."""

    def __init__(self, url: str) -> None:
        folder, _, self._path = url.rpartition("/")
        self._bucket = Bucket(folder)
        size = self._bucket.size(self._path)
        if size is None:
            raise FileNotFoundError(url)
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        if length:
            data = self._bucket.part(self._path, self._at, length)
            if data is None:
                raise FileNotFoundError(self._path)
            buffer[:length] = data
            self._at += length
        return length
