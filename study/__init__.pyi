from .errors import (
    ClusterError,
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
    "ClusterError",
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
