"""The errors that a user can meet. Each carries one sentence, which the command line prints."""

import re


class TesseralError(ValueError):
    """A mistake in the input. The sentence says what was expected, what came and what is valid."""


class StudyFileError(TesseralError):
    """A mistake in a study file, a recipe or a mapping.

    :param path: dotted path of the key; empty if the whole file is meant.
    :param message: the sentence.
    :param file: name of the file, if it is known.
    """

    def __init__(self, path: str, message: str, file: str | None = None) -> None:
        self.path = path
        self.message = message
        self.file = file
        where = f"{file}: " if file else ""
        super().__init__(f"{where}{numbered(path)}: {message}" if path else f"{where}{message}")


def numbered(path: str) -> str:
    """A dotted path as a reader counts, from one: `structures.0.count` becomes `structures (entry 1).count`.

    :param path: of a key, in which entries of lists are counted from zero, as `.0` or `[0]`.
    """

    def counted(entries: re.Match[str]) -> str:
        return f" (entry {', '.join(str(int(number) + 1) for number in re.findall('[0-9]+', entries[0]))})"

    return re.sub(r"(?:\.[0-9]+(?![^.\[])|\[[0-9]+\])+", counted, path)


class DataError(TesseralError):
    """Reference data that are missing, damaged, of another schema, or unfit for the study."""


class MissingDataError(DataError):
    """Reference data that are not there."""


class RecordError(TesseralError):
    """Records of a study that contradict each other, or the study that is to be run."""


class MissingRowsError(RecordError):
    """Rows of a trial that were sealed are gone from the storage. Training the trial again restores them."""


class CheckpointError(RecordError):
    """A checkpoint that cannot be continued from: altered, of another trial, or of another network."""


class DeviceLostError(TesseralError):
    """The device is lost for this process; another process may still use it."""


class LeaseHeldError(RuntimeError):
    """Another driver holds the study. The command line exits with 3."""


class LeaseLostError(RuntimeError):
    """Another driver has taken over; what this one still writes does not count."""


class StoreError(RuntimeError):
    """The storage failed, for example by a full disk. Interrupted trials continue at the next start."""


class IncompleteError(RuntimeError):
    """Some structures could not be computed. The others are sealed, and no file was made."""


class ClusterError(RuntimeError):
    """Ray cannot be started or joined, or was lost. Interrupted trials continue at the next start."""
