"""Reference data as a Parquet file: one row for each structure; auxiliary basis and imported labels in the metadata."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tesseral.models.data.reference_check import REQUIRED, check_table
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study.configuration.configuration import SPLITS
from tesseral.study.configuration.quantities import QUANTITIES, Label
from tesseral.study.configuration.trial import canonical
from tesseral.study.errors import DataError, MissingDataError, StoreError
from tesseral.study.records.schemas import REFERENCE, VERSION, table_name, to_table, with_metadata

TARGETS = tuple(dict.fromkeys(quantity.column for quantity in QUANTITIES.values()))
"""Columns that can be targets; those of imported labels come on top."""
CONTENT = b"tesseral.content"
"""Metadata that holds the content hash of the file's rows. Files of earlier versions have none."""
MAKE = "make it or import it (`tesseral reference`), or restore it from a copy"
"""What to do where there is no file."""
_AT_ONCE = 1000
"""Rows that are dictionaries at the same time."""
_AGAIN = "restore the file from a copy, or remove it and make or import it again"
_LATER = ("cell", "stress")
"""Columns that came later: they count where they hold a value, so that data without one keep their hash."""
# What a training can see. Timings and provenance may differ between two files of equal content.
_CONTENT = ("atomic_numbers", "positions", "charge", "converged", "overlap", *TARGETS)


@dataclass(frozen=True)
class Reference:
    """A table of schema `REFERENCE`, with a column `label.<name>` for each imported label."""

    table: pa.Table
    basis: AuxiliaryBasis | None
    """Basis of the coefficients; None if there are none."""
    labels: dict[str, Label] = field(default_factory=dict)
    """By name."""
    folder: Path | None = None
    """Folder of the machine in which processes share the data; None where each has its own."""

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over what training can see: geometry, charge, convergence, basis, every column that can be a target,
        whether or not it is null, and cells, stresses and a published split if there are any.

        The order of the rows counts, since a split permutes them. Names of structures, timings, provenance and the
        file's compression do not count.
        """
        return hash_content(self.table, self.basis, self.labels)

    @cached_property
    def converged(self) -> "Reference":
        """The rows whose self-consistent field converged: only they may be trained on."""
        if pc.all(self.table["converged"]).as_py():
            return self  # without a copy
        return replace(self, table=self.table.filter(self.table["converged"]))

    @property
    def filled(self) -> tuple[str, ...]:
        """Columns that can be trained on and hold a value in at least one row."""
        columns = (*TARGETS, "stress", *(f"label.{name}" for name in self.labels))
        return tuple(column for column in columns if self.table[column].null_count < len(self))

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending: those of the basis, or without one those of the converged rows."""
        if self.basis is not None:
            return tuple(sorted(self.basis.shells))
        return tuple(sorted(pc.unique(self.converged.table["atomic_numbers"].combine_chunks().flatten()).to_pylist()))


def hash_content(table: pa.Table, basis: AuxiliaryBasis | None, labels: Mapping[str, Label]) -> str:
    """The `content_hash` of rows. Chunk by chunk: a table that a file is mapped to stays on disk.

    :param table: of schema `REFERENCE`, with a column for each of `labels`.
    :param basis: of the coefficients; None if there are none.
    :param labels: by name.
    """
    tree = None if basis is None else json.loads(basis.to_json())
    declared = {name: label.to_dict() for name, label in sorted(labels.items())}
    content = hashlib.sha256(canonical([tree, declared]).encode())
    for column in (*_CONTENT, *(f"label.{name}" for name in declared)):
        content.update(f"\0{column}\0".encode())
        _hash_values(content, table[column].chunks)
    for column in _LATER:
        if column in table.column_names and table[column].null_count < len(table):
            content.update(f"\0{column}\0".encode())
            _hash_values(content, table[column].chunks)
    # A published split came later too.
    if "split" in table.column_names and table["split"].null_count < len(table):
        content.update(b"\0split\0")
        numbered = pc.fill_null(pc.index_in(table["split"], pa.array(SPLITS)), -1)
        _hash_values(content, numbered.chunks)
    return content.hexdigest()


def _hash_values(content: "hashlib._Hash", chunks: Sequence[Any]) -> None:
    """Hash the lengths of lists (−1: null), then their contents down to the leaves; little-endian, so hosts agree."""
    if not chunks:
        return
    kind = chunks[0].type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        for values in chunks:
            lengths = pc.fill_null(pc.list_value_length(values), -1).to_numpy(zero_copy_only=False)
            content.update(lengths.astype("<i4").tobytes())
        _hash_values(content, [values.flatten() for values in chunks])
    else:
        stored = "<f8" if pa.types.is_floating(kind) else "<i8"
        for values in chunks:
            content.update(values.to_numpy(zero_copy_only=False).astype(stored).tobytes())


def read_reference(source: str | Path | BinaryIO, name: str | None = None) -> Reference:
    """Read and check a file of reference data; columns that tesseral does not know are left out.

    :param source: a path, or a binary file open for reading.
    :param name: what error messages call it; default its path.
    :raises MissingDataError: if there is no file.
    :raises DataError: if it is torn, damaged, not Parquet, not ours, of another version, or contradicts itself.
    :raises StoreError: if the storage fails.
    """
    name = name or str(getattr(source, "name", source if isinstance(source, str | Path) else "reference data"))
    if isinstance(source, str | Path) and not Path(source).exists():
        raise MissingDataError(f"expected a Parquet file of reference data at {name}, found no file there; {MAKE}")
    if isinstance(source, str | Path) and Path(source).is_dir():
        raise DataError(
            f"expected a Parquet file of reference data at {name}, found a folder there; restore it from a copy"
        )
    try:
        raw = pq.ParquetFile(source, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one: in the name of a column
        reason = str(error).splitlines()[0].rstrip(".")
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(f"{name} cannot be read: {reason}") from None  # damage has no number
        raise DataError(
            f"expected a whole Parquet file of reference data, {name} cannot be read: {reason}; restore it from a "
            "copy, or make it again"
        ) from None
    kind = table_name(raw.schema)
    if kind is None:
        raise DataError(f"expected reference data written by tesseral, {name} is another program's Parquet file")
    if kind != ("reference", VERSION):
        raise DataError(
            f"expected a table 'reference' of version {VERSION}, {name} is {kind[0]!r} of version {kind[1]}"
        )
    _refuse_renamed(raw.schema, name)
    missing = [column for column in REQUIRED if column not in raw.column_names]
    if missing:
        raise DataError(f"expected the columns {', '.join(REQUIRED)}, {name} lacks {', '.join(missing)}")
    metadata = raw.schema.metadata
    try:
        text = metadata.get(b"tesseral.auxiliary")
        basis = None if text is None else AuxiliaryBasis.from_json(text.decode())
    except ValueError as error:
        raise DataError(
            f"expected the auxiliary basis in the file's metadata, {name} holds none that can be read: {error}"
        ) from None
    try:
        declared = json.loads(metadata.get(b"tesseral.labels", b"{}"))
        labels = {key: Label.from_dict(tree) for key, tree in declared.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            f"expected labels declared in the file's metadata, {name} holds some that cannot be read"
        ) from None
    lost = [key for key in labels if f"label.{key}" not in raw.column_names]
    if lost:
        raise DataError(
            f"expected a column for each label declared in the file's metadata, {name} lacks label.{lost[0]}"
        )
    try:
        columns = [
            raw[field.name].cast(field.type) if field.name in raw.column_names else pa.nulls(len(raw), field.type)
            for field in _schema(labels)
        ]
        table = pa.table(columns, schema=_schema(labels).with_metadata(metadata))
    except pa.ArrowException as error:
        raise DataError(
            f"expected the columns and types of reference data (documentation: Records), in {name}: {error}"
        ) from None
    reference = Reference(table, basis, labels)
    _check(reference, name)
    # A version that knew fewer columns hashed fewer.
    stated = metadata.get(CONTENT) if {*_CONTENT} <= {*raw.column_names} else None
    if stated is not None and stated.decode(errors="replace") != reference.content_hash:
        raise DataError(f"{name} is damaged: its rows do not match the content hash in its metadata; {_AGAIN}")
    return reference


def _refuse_renamed(schema: pa.Schema, name: str) -> None:
    """Refuse a file in which one column has the place of another: page checksums do not cover names."""
    names = schema.names
    # Files of earlier versions lack columns, and others may add some. None that proves its content does both.
    unknown = [column for column in names if column not in REFERENCE.names and not column.startswith("label.")]
    lacking = [column for column in REFERENCE.names if column not in names]
    if unknown and lacking and CONTENT in (schema.metadata or {}):
        raise DataError(
            f"expected the columns of reference data (documentation: Records), {name} lacks {', '.join(lacking)} and "
            f"has {', '.join(map(repr, unknown))}; {_AGAIN}"
        )


def reference_table(rows: Iterable[dict[str, Any]], labels: Mapping[str, Label]) -> pa.Table:
    """Rows of schema `REFERENCE` as a table, `_AT_ONCE` of them at a time: dictionaries take ten times its memory.

    :param rows: dictionaries by column; a column that is left out is null.
    :param labels: what the columns `label.<name>` of the rows hold, by name.
    :raises DataError: if a value does not fit its column.
    """
    schema, rows = _schema(labels), iter(rows)
    tables = [schema.empty_table()]
    while part := list(islice(rows, _AT_ONCE)):
        try:
            tables.append(to_table(part, schema))
        except (pa.ArrowException, TypeError) as error:
            raise DataError(
                f"expected the columns and types of reference data (documentation: Records): {error}"
            ) from None
    return pa.concat_tables(tables).combine_chunks()


def rows_of(table: pa.Table, *columns: str) -> Iterator[dict[str, Any]]:
    """The rows of a table as dictionaries, few at a time.

    :param columns: those that they hold.
    """
    for batch in table.select(columns).to_batches(_AT_ONCE):
        yield from batch.to_pylist()


def encode_reference(
    rows: Iterable[dict[str, Any]],
    basis: AuxiliaryBasis | None,
    name: str = "the new file",
    labels: Mapping[str, Label] | None = None,
    **metadata: str,
) -> bytes:
    """Rows of schema `REFERENCE` as the bytes of a Parquet file, checked as `read_reference` checks.

    :param rows: dictionaries by column; a column that is left out is null.
    :param basis: of the coefficients; None if there are none.
    :param name: what error messages call it.
    :param labels: what the columns `label.<name>` of the rows hold, by name.
    :param metadata: further text for the file's metadata, under `tesseral.<key>`.
    :raises DataError: if the rows are none, or contradict the basis, the labels or themselves.
    """
    labels = dict(labels or {})
    return encode_table(reference_table(rows, labels), basis, name, labels, **metadata)


def encode_table(
    table: pa.Table, basis: AuxiliaryBasis | None, name: str, labels: Mapping[str, Label], **metadata: str
) -> bytes:
    """As `encode_reference`, of a table.

    :param table: from `reference_table`, of the same labels.
    """
    if basis is not None:
        metadata["auxiliary"] = basis.to_json()
    if labels:
        metadata["labels"] = json.dumps({key: label.to_dict() for key, label in labels.items()})
    reference = Reference(table, basis, dict(labels))
    _check(reference, name)
    content = reference.content_hash
    table = table.replace_schema_metadata(with_metadata(table.schema, **metadata, content=content).metadata)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _schema(labels: Mapping[str, Label]) -> pa.Schema:
    """`REFERENCE` with the columns of imported labels."""
    schema = REFERENCE
    for key, label in labels.items():
        about = {"description": f"imported, irreps {label.to_dict()['irreps']}, per {label.per}, {label.unit}"}
        schema = schema.append(pa.field(f"label.{key}", label_type(label), metadata=about))
    return schema


def label_type(label: Label) -> pa.DataType:
    """Type of a label's column: a list for each structure, or a list of lists, one for each atom.

    :param label: as declared.
    """
    numbers = pa.list_(pa.float64())
    return numbers if label.per == "structure" else pa.list_(numbers)


def _check(reference: Reference, name: str) -> None:
    sizes = None
    if reference.basis is not None:
        sizes = {number: reference.basis.size(number) for number in reference.basis.shells}
    widths = {f"label.{key}": (label.per, label.width) for key, label in reference.labels.items()}
    check_table(reference.table, sizes, widths, name)
