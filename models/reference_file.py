"""Reference data as a Parquet file: one row a structure, the auxiliary basis in the file's metadata."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.study.errors import DataError
from tesseral.study.records import REFERENCE, VERSION, table_name, to_table, with_metadata
from tesseral.study.trial import canonical

# What a training cannot do without; the other columns are null where a quantity was not asked for.
_REQUIRED = ("id", "atomic_numbers", "positions", "charge", "converged", "coefficients")
# What a training sees. Timings and provenance may differ between two files of equal content.
_CONTENT = ("atomic_numbers", "positions", "charge", "converged", "coefficients", "overlap")


@dataclass(frozen=True)
class Reference:
    """A table of schema `REFERENCE` and the auxiliary basis that its coefficients refer to."""

    table: pa.Table
    basis: AuxiliaryBasis

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over what training sees: geometry, charge, convergence, coefficients, overlap and basis.

        Rows count in their order, for a split permutes them. Structures' names, timings, provenance and the way the
        file is compressed do not count.
        """
        content = hashlib.sha256(canonical(json.loads(self.basis.to_json())).encode())
        for column in _CONTENT:
            content.update(f"\0{column}\0".encode())
            _hash_values(content, self.table[column].combine_chunks())
        return content.hexdigest()

    @cached_property
    def converged(self) -> "Reference":
        """The rows that may be trained on: those whose self-consistent field converged."""
        return replace(self, table=self.table.filter(self.table["converged"]))


def _hash_values(content: "hashlib._Hash", values: Any) -> None:
    """Lengths of lists (−1: null), then what they hold, to the leaves; all little-endian, so hosts agree."""
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), -1).to_numpy(zero_copy_only=False)
        content.update(lengths.astype("<i4").tobytes())
        _hash_values(content, values.flatten())
    else:
        kind = "<f8" if pa.types.is_floating(values.type) else "<i8"
        content.update(values.to_numpy(zero_copy_only=False).astype(kind).tobytes())


def read_reference(source: str | Path | BinaryIO, name: str | None = None) -> Reference:
    """Read and check a file of reference data; columns that tesseral does not know are left out.

    :param source: a path, or a binary file open for reading.
    :param name: what error messages call it; default its path.
    :raises DataError: if it is missing, torn, not Parquet, not ours, of another version, or contradicts itself.
    """
    name = name or str(getattr(source, "name", source if isinstance(source, str | Path) else "reference data"))
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise DataError(f"expected a Parquet file of reference data at {name}, found no file there")
    try:
        found = pq.ParquetFile(source).read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"expected a whole Parquet file of reference data, {name} cannot be read: {reason}") from None
    kind = table_name(found.schema)
    if kind is None:
        raise DataError(f"expected reference data written by tesseral, {name} is another program's Parquet file")
    if kind != ("reference", VERSION):
        raise DataError(
            f"expected a table 'reference' of version {VERSION}, {name} is {kind[0]!r} of version {kind[1]}"
        )
    missing = [column for column in _REQUIRED if column not in found.column_names]
    if missing:
        raise DataError(f"expected the columns {', '.join(_REQUIRED)}, {name} lacks {', '.join(missing)}")
    try:
        basis = AuxiliaryBasis.from_json(found.schema.metadata[b"tesseral.auxiliary"].decode())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            f"expected the auxiliary basis in the file's metadata, {name} holds none that can be read"
        ) from None
    try:
        columns = [
            found[field.name].cast(field.type) if field.name in found.column_names else pa.nulls(len(found), field.type)
            for field in REFERENCE
        ]
        table = pa.table(columns, schema=REFERENCE.with_metadata(found.schema.metadata))
    except pa.ArrowException as error:
        raise DataError(
            f"expected columns of the types of tesseral.study.records.REFERENCE, in {name}: {error}"
        ) from None
    reference = Reference(table, basis)
    _check(reference, name)
    return reference


def encode_reference(
    rows: Sequence[dict[str, Any]], basis: AuxiliaryBasis, name: str = "the new file", **metadata: str
) -> bytes:
    """Rows of schema `REFERENCE` as the bytes of a Parquet file, checked as `read_reference` checks.

    :param name: what error messages call it.
    :param metadata: further text for the file's metadata, under `tesseral.<key>`.
    :raises DataError: if the rows are none, or contradict the basis or themselves.
    """
    schema = with_metadata(REFERENCE, auxiliary=basis.to_json(), **metadata)
    try:
        table = to_table(list(rows), schema)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"expected rows of the types of tesseral.study.records.REFERENCE: {error}") from None
    _check(Reference(table, basis), name)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _check(reference: Reference, name: str) -> None:
    """Every row fits the basis and itself, names differ, and the numbers are finite."""
    table, basis = reference.table, reference.basis
    if not len(table):
        raise DataError(f"expected at least one structure, {name} holds no rows")
    for column in _REQUIRED:
        if table[column].null_count:
            raise DataError(f"expected {column} in every row, {name} holds {table[column].null_count} without it")
    repeated = [item["values"] for item in table["id"].value_counts().to_pylist() if item["counts"] > 1]
    if repeated:
        raise DataError(f"expected an id of its own for each structure, {name} holds {repeated[0]!r} more than once")
    sizes = {number: basis.size(number) for number in basis.shells}
    for row in table.select([*_REQUIRED, "overlap"]).to_batches(max_chunksize=1):
        _check_row(row, sizes, name)


def _check_row(row: pa.RecordBatch, sizes: dict[int, int], name: str) -> None:
    """One structure: its lists have one entry an atom, its atoms the basis's number of coefficients."""
    where = f"structure {row['id'][0].as_py()!r} in {name}"
    numbers = row["atomic_numbers"][0].as_py()
    unknown = sorted({number for number in numbers if number not in sizes})
    if unknown:
        raise DataError(f"expected the elements {sorted(sizes)} of the auxiliary basis, {where} holds {unknown}")
    expected = [sizes[number] for number in numbers]
    lengths = pc.list_value_length(row["coefficients"].flatten()).to_pylist()
    if not numbers or len(row["positions"][0]) != len(numbers) or lengths != expected:
        raise DataError(
            f"expected a position and as many coefficients as the basis has for each of {len(numbers)} atoms "
            f"({expected}), {where} has {len(row['positions'][0])} positions and coefficients {lengths}"
        )
    packed, total = row["overlap"][0], sum(expected)
    if packed.is_valid and len(packed) != total * (total + 1) // 2:
        raise DataError(
            f"expected {total * (total + 1) // 2} elements in the lower triangle of the overlap of {total} "
            f"functions, {where} has {len(packed)}"
        )
    for column in ("positions", "coefficients", "overlap"):
        values = row[column].flatten()
        while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
            values = values.flatten()
        if not np.isfinite(values.to_numpy(zero_copy_only=False).astype(float)).all():
            raise DataError(f"expected finite numbers, {where} holds others in {column}")
