from .errors import (
    DataError,
    DeviceLostError,
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
    "LeaseHeldError",
    "LeaseLostError",
    "RecordError",
    "StoreError",
    "Study",
    "StudyFileError",
    "TesseralError",
]
