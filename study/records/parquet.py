"""A Parquet file on a storage, a local folder or an object store, of which columns are read on demand."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.study.errors import DataError, StoreError
from tesseral.study.records.bucket import Bucket


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
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one: in the name of a column
        reason = str(error).splitlines()[0].rstrip(".")
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(f"{location} cannot be read: {reason}") from None  # damage has no number
        raise DataError(
            f"expected a whole Parquet file, {location} cannot be read: {reason}; restore it from a copy, or remove it"
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
