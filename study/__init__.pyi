from .errors import (
    DataError,
    DeviceLostError,
    IncompleteError,
    LeaseHeldError,
    LeaseLostError,
    RecordError,
    StoreError,
    StudyFileError,
    TesseralError,
)
from .study import Study

__all__ = [
    "DataError",
    "DeviceLostError",
    "IncompleteError",
    "LeaseHeldError",
    "LeaseLostError",
    "RecordError",
    "StoreError",
    "Study",
    "StudyFileError",
    "TesseralError",
]
