"""Reference data on a storage, a local folder or an object store: read whole."""

import io
from functools import lru_cache

from tesseral.models.data.reference_file import Reference, read_reference
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
