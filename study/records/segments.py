"""The tables of a trial as sealed Parquet segments, and which of their rows count.

A segment `<table>/trial=<id>/<attempt>-<step>.parquet` holds rows of one attempt up to and including `step`.
When a trial ends, its segments are compacted into `<attempt>-all.parquet`, which its outcome names.

Rows of attempt n count only below the start step of every later attempt. An attempt that began under a superseded lease
does not count at all. So a worker that was thought dead can still write, and changes nothing.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tesseral.study.errors import RecordError
from tesseral.study.records.schemas import CURVES, TRACES
from tesseral.study.records.store import Store, read_document

TABLES = {"curves": CURVES, "traces": TRACES}

_SEGMENT = re.compile(r"(\d+)-(\d+)\.parquet")
_ATTEMPT = re.compile(r"(\d+)\.json")
_COMPACTED = re.compile(r"\d+(-\d+)?-all\.parquet")
CHECKPOINT = re.compile(r"(\d+)-(\d+)")
"""Name of a checkpoint: number of the attempt, and step."""


@dataclass(frozen=True)
class Begin:
    """The beginning of an attempt, as `attempts/<n>.json` records it."""

    number: int
    lease: int
    start: int
    """First step whose rows this attempt writes: 0, or the step of its checkpoint plus 1."""
    parts: int = 1
    """Number of parts in which it computes a batch: above 1 after the memory of the device was too small."""
    worker: str = ""
    """Host and process id of its worker."""


@dataclass(frozen=True)
class Source:
    """A Parquet file whose rows with step < `below` count; all of them if None."""

    path: str
    trial: str
    below: int | None


def read_begins(store: Store, trial: str) -> list[Begin]:
    """Return the attempts of a trial, in order of number.

    :param store: the study's records.
    :param trial: the trial's id.
    """
    begins = []
    for path in attempt_numbers(store, trial).values():
        if tree := read_document(store, path, "attempt", "lease", "start"):
            worker = f"{tree.get('host', '')}:{tree.get('pid', tree['attempt'])}"
            begins.append(Begin(tree["attempt"], tree["lease"], tree["start"], tree.get("parts", 1), worker))
    return sorted(begins, key=lambda b: b.number)


def attempt_numbers(store: Store, trial: str) -> dict[int, str]:
    """Return attempt number → path. Numbers come from the names: one is taken even if its record cannot be read.

    :param store: the study's records.
    :param trial: the trial's id.
    """
    names = {path: _ATTEMPT.fullmatch(path.rpartition("/")[2]) for path in store.paths(f"trials/{trial}/attempts")}
    return {int(match[1]): path for path, match in names.items() if match}


def counting(begins: Iterable[Begin]) -> dict[int, int | None]:
    """Return the number of each attempt that counts → the step below which its rows count; None for no bound.

    :param begins: the attempts of one trial.
    """
    valid: list[Begin] = []
    for begin in sorted(begins, key=lambda b: b.number):
        if all(begin.lease >= earlier.lease for earlier in valid):
            valid.append(begin)
    bounds: dict[int, int | None] = {}
    lowest: int | None = None
    for begin in reversed(valid):
        bounds[begin.number] = lowest
        lowest = begin.start if lowest is None else min(lowest, begin.start)
    return bounds


def folder(table: str, trial: str) -> str:
    """Return the folder of a trial's rows of `table`. It is named as in Hive, so `trial` can be read as a column.

    :param table: `curves` or `traces`.
    :param trial: the trial's id.
    """
    return f"{table}/trial={trial}"


def is_segment(path: str) -> bool:
    """Return whether a file is a segment or a compacted table, by its name. Other files are never deleted.

    :param path: of a file in a folder of rows.
    """
    name = path.rpartition("/")[2]
    return bool(_SEGMENT.fullmatch(name) or _COMPACTED.fullmatch(name))


def is_checkpoint(path: str) -> bool:
    """Return whether a file is a checkpoint, by its name. Other files are never deleted.

    :param path: of a file in a folder of checkpoints.
    """
    return bool(CHECKPOINT.fullmatch(path.rpartition("/")[2]))


def segment_sources(paths: Iterable[str], trial: str, begins: Iterable[Begin]) -> list[Source]:
    """Return the segments of a trial that can hold rows that count.

    :param trial: the trial's id.
    :param begins: its attempts.
    :param paths: files of the trial.
    """
    bounds = counting(begins)
    sources = []
    for path in paths:
        match = _SEGMENT.fullmatch(path.rpartition("/")[2])
        if match is not None and int(match[1]) in bounds:
            sources.append(Source(path, trial, bounds[int(match[1])]))
    return sources


def encode(table: pa.Table) -> bytes:
    """Return a table as compressed Parquet, in row groups of at most 100,000 rows.

    :param table: rows of one trial.
    """
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=100_000)
    return buffer.getvalue()


def decode(data: bytes, schema: pa.Schema) -> pa.Table:
    """Return the table in Parquet bytes, with the columns of `schema`.

    :param data: a Parquet file.
    :param schema: of the table.
    """
    # One thread: a worker should not start a pool of threads for a few kilobytes.
    return pq.ParquetFile(io.BytesIO(data)).read(columns=schema.names, use_threads=False).cast(schema)


def rows_to_table(rows: list[dict[str, Any]], trial: str, schema: pa.Schema) -> pa.Table:
    """Return rows as a table of `schema`, with the column `trial` added.

    :param rows: column → value, without `trial`.
    :param trial: the trial's id.
    :param schema: of the table.
    """
    return pa.Table.from_pylist([{"trial": trial, **row} for row in rows], schema=schema)


def read_counting(store: Store, sources: list[Source], schema: pa.Schema, last: int | None = None) -> pa.Table:
    """Return the rows of `sources` that count, up to step `last`, sorted by step.

    :param store: the study's records.
    :param sources: of one trial and one table.
    :param schema: of the table.
    :param last: last step whose rows are returned; None returns all.
    :raises FileNotFoundError: if a source is gone, because its trial was compacted meanwhile.
    :raises RecordError: if a source cannot be read.
    """
    parts = [schema.empty_table()]
    for source in sources:
        data = store.read(source.path)
        if data is None:
            raise FileNotFoundError(source.path)
        try:
            part = decode(data, schema)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise RecordError(f"the segment {store.location(source.path)} cannot be read: {reason}") from None
        parts.append(part if source.below is None else part.filter(pc.less(part["step"], source.below)))
    table = pa.concat_tables(parts)
    return (table if last is None else table.filter(pc.less_equal(table["step"], last))).sort_by("step")
