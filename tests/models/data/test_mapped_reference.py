"""A mapped file holds what was written: tables, basis and labels, bit for bit, without a copy."""

import numpy as np
import pyarrow as pa
import pytest

from tesseral.models.data.mapped_reference import map_reference, write_mapped
from tesseral.models.data.reference_file import read_reference


def test_what_is_mapped_is_what_was_read(tiny_reference, tmp_path):
    read = read_reference(tiny_reference)
    path = tmp_path / "shared.arrow"
    write_mapped(read, path)
    before = pa.total_allocated_bytes()
    mapped = map_reference(path, read.content_hash)
    assert pa.total_allocated_bytes() - before < 1000, "pages of the file, not a copy"
    assert mapped.table.equals(read.table)
    assert (mapped.basis, mapped.labels) == (read.basis, read.labels)
    assert mapped.content_hash == read.content_hash
    assert mapped.elements == read.elements
    assert [name.name for name in tmp_path.iterdir()] == ["shared.arrow"]
    with pytest.raises(ValueError, match="read-only"):
        mapped.table["overlap"].chunks[0].flatten().to_numpy()[0] = np.nan


def test_data_that_all_converged_are_not_copied(tiny_reference):
    reference = read_reference(tiny_reference)
    assert reference.converged is reference
