"""The studies of a storage, and the sentence on one that it lacks."""

from contextlib import suppress
from pathlib import Path

from tesseral.study.errors import RecordError, StoreError, StudyFileError
from tesseral.study.records.store import Store


def started(storage: str | Path) -> list[str]:
    """Names of the studies in a storage.

    :param storage: folder or URL that holds studies.
    """
    store = Store(storage)
    names = []
    for name in store.folders():
        with suppress(RecordError, StoreError):  # a neighbour that cannot be read is no study that can be opened
            names += [name] if store.read(f"{name}/study.toml") is not None else []
    return names


def not_started(storage: str | Path, name: str) -> StudyFileError:
    """The mistake of naming a study that a storage lacks.

    :param storage: folder or URL that holds studies.
    :param name: of the study that was asked for.
    """
    if "://" not in str(storage) and not Path(storage).is_dir():
        return StudyFileError("", f"expected a storage with the study {name!r}, found no folder {storage}")
    known = ", ".join(started(storage)) or "none"
    return StudyFileError("", f"expected the name of a study started in {storage}, got {name!r}; there are: {known}")
