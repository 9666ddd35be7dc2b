"""Reference data on a storage, a local folder or an object store: read whole, once in a process or on a machine."""

import fcntl
import io
from functools import lru_cache
from pathlib import Path

from tesseral.models.data.mapped_reference import map_reference, write_mapped
from tesseral.models.data.published_split import COLUMN, with_split
from tesseral.models.data.reference_file import MAKE, Reference, read_reference
from tesseral.study.configuration.configuration import Data
from tesseral.study.errors import DataError, MissingDataError
from tesseral.study.records.parquet import open_parquet
from tesseral.study.records.store import Store


@lru_cache(maxsize=4)
def open_reference(storage: str, reference: str) -> Reference:
    """Read reference data as `read_stored` does, once in a process.

    :param storage: local folder or URL of an object store.
    :param reference: path within the storage, or an absolute path or URL.
    """
    return read_stored(storage, reference)


@lru_cache(maxsize=4)
def open_on_node(storage: str, reference: str, content_hash: str, folder: str) -> Reference:
    """Read reference data once on a machine; its other processes map what the first one has read and checked.

    :param storage: local folder or URL of an object store.
    :param reference: path within the storage, or an absolute path or URL.
    :param content_hash: of the data that are expected. Other data are not shared.
    :param folder: of this machine and user, where the mapped files lie; empty: each process reads for itself.
    :raises DataError: as `read_stored`.
    :raises StoreError: if the storage fails.
    """
    if not folder:
        return open_reference(storage, reference)
    path = Path(folder) / f"{content_hash}.arrow"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait for the first one, and then need not read
            if not path.exists():
                read = read_stored(storage, reference)
                if read.content_hash != content_hash:
                    return read
                write_mapped(read, path)
        return map_reference(path, content_hash)
    except OSError:  # such as a full disk, which the storage need not be on
        return open_reference(storage, reference)


@lru_cache(maxsize=4)
def _divided(storage: str, reference: str, split: str, content_hash: str, folder: str) -> Reference:
    read = (
        open_on_node(storage, reference, content_hash, folder) if content_hash else open_reference(storage, reference)
    )
    location = Store(storage).location(split)
    where, _, name = location.rpartition("/")
    text = Store(where).read(name)
    if text is None:
        raise MissingDataError(
            f"data.split: expected a CSV file of the published split at {location}, found none there"
        )
    try:
        return with_split(read, text.decode("utf-8-sig"), location)
    except UnicodeDecodeError:
        raise DataError(f"data.split: expected UTF-8 text in {location}, got something else") from None


def open_data(storage: str, data: Data, content_hash: str = "", folder: str = "") -> Reference:
    """Read the reference data of an arm or trial, with the published split that its settings name.

    :param storage: local folder or URL of an object store.
    :param data: the table `[data]`.
    :param content_hash: of the data that are expected, if a machine's processes share them; see `open_on_node`.
    :param folder: as for `open_on_node`.
    :raises MissingDataError: if there is no file.
    :raises DataError: as `read_stored`; or if the file of the split is no such table.
    :raises StoreError: if the storage fails.
    """
    if data.split is not None and data.split != COLUMN:
        return _divided(storage, data.reference, data.split, content_hash, folder)
    if content_hash:
        return open_on_node(storage, data.reference, content_hash, folder)
    return open_reference(storage, data.reference)


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
        raise MissingDataError(f"expected reference data at {location}, found no file there; {MAKE}")
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
