"""The few errors a user can meet. Each carries one sentence; the command line prints it and exits with 2."""


class TesseralError(ValueError):
    """A mistake in what was given to tesseral: says what was expected, what came and what is valid."""


class StudyFileError(TesseralError):
    """A mistake in a study file or recipe; `path` is the dotted path of the offending key."""

    def __init__(self, path: str, message: str, file: str | None = None) -> None:
        self.path = path
        self.message = message
        self.file = file
        where = f"{file}: " if file else ""
        super().__init__(f"{where}{path}: {message}" if path else f"{where}{message}")


class DataError(TesseralError):
    """Reference data that is missing, torn, of another schema, or does not fit the study."""


class RecordError(TesseralError):
    """A study's records contradict themselves, or contradict the study that is to be run."""


class DeviceLostError(TesseralError):
    """This process can no longer use its device; another process may."""


class LeaseHeldError(RuntimeError):
    """Another driver holds the study. The command line exits with 3."""


class LeaseLostError(RuntimeError):
    """This driver was superseded; what it would still write does not count."""


class StoreError(RuntimeError):
    """The storage failed: a full disk, a lost connection. Trials it interrupted go on at the next start."""
