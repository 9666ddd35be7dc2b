from .batch import Batch, DensityBatch, PropertyBatch
from .data_set import DataSet, open_data_set
from .data_shape import reference_shape
from .reference_file import Reference, encode_reference, read_reference
from .references import open_reference
from .split import Split

__all__ = [
    "Batch",
    "DataSet",
    "DensityBatch",
    "PropertyBatch",
    "Reference",
    "Split",
    "encode_reference",
    "open_data_set",
    "open_reference",
    "read_reference",
    "reference_shape",
]
