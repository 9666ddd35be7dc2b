"""Tables of one trial as sealed Parquet segments, and which of their rows count.

A segment `<table>/trial=<id>/<attempt>-<step>.parquet` holds rows of one attempt up to and including `step`.
When a trial ends, its segments are compacted into `<attempt>-all.parquet`, which its outcome names.

Rows of attempt n count only below the start step of every later attempt, and an attempt that was begun under a
superseded lease does not count at all. So what a worker that was thought dead still writes changes nothing.
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
"""Name of a checkpoint: attempt and step."""


@dataclass(frozen=True)
class Begin:
    """One `attempts/<n>.json`: who began attempt `number`, under which lease, from which step."""

    number: int
    lease: int
    start: int
    """First step whose rows this attempt writes: 0, or one more than its checkpoint's step."""
    parts: int = 1
    """Parts in which it computes a batch: more than one after the device's memory was too small."""
    worker: str = ""
    """Host and process that it ran in."""


@dataclass(frozen=True)
class Source:
    """A Parquet file of which the rows with step < `below` count (all of them if None)."""

    path: str
    trial: str
    below: int | None


def read_begins(store: Store, trial: str) -> list[Begin]:
    """The attempts of a trial, by number."""
    begins = []
    for path in attempt_numbers(store, trial).values():
        if tree := read_document(store, path, "attempt", "lease", "start"):
            worker = f"{tree.get('host', '')}:{tree.get('pid', tree['attempt'])}"
            begins.append(Begin(tree["attempt"], tree["lease"], tree["start"], tree.get("parts", 1), worker))
    return sorted(begins, key=lambda b: b.number)


def attempt_numbers(store: Store, trial: str) -> dict[int, str]:
    """Attempt number → path, by name: a number is taken even if its record cannot be read."""
    found = {path: _ATTEMPT.fullmatch(path.rpartition("/")[2]) for path in store.paths(f"trials/{trial}/attempts")}
    return {int(match[1]): path for path, match in found.items() if match}


def counting(begins: Iterable[Begin]) -> dict[int, int | None]:
    """The attempts that count → the step below which their rows do (None: no bound)."""
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
    """Where a trial's rows of `table` lie; the name is Hive's, so `trial` is readable as a column."""
    return f"{table}/trial={trial}"


def is_segment(path: str) -> bool:
    """Whether a file is a segment or a compacted table by its name, and so ours to delete."""
    name = path.rpartition("/")[2]
    return bool(_SEGMENT.fullmatch(name) or _COMPACTED.fullmatch(name))


def is_checkpoint(path: str) -> bool:
    """Whether a file is a checkpoint by its name, and so ours to delete."""
    return bool(CHECKPOINT.fullmatch(path.rpartition("/")[2]))


def segment_sources(paths: Iterable[str], trial: str, begins: Iterable[Begin]) -> list[Source]:
    """Those of `paths` (segments of one trial) that can hold rows that count."""
    bounds = counting(begins)
    sources = []
    for path in paths:
        match = _SEGMENT.fullmatch(path.rpartition("/")[2])
        if match is not None and int(match[1]) in bounds:
            sources.append(Source(path, trial, bounds[int(match[1])]))
    return sources


def encode(table: pa.Table) -> bytes:
    """Parquet bytes, compressed, in row groups of at most 100,000 rows."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=100_000)
    return buffer.getvalue()


def decode(data: bytes, schema: pa.Schema) -> pa.Table:
    """The inverse of `encode`, in the columns of `schema`."""
    # One thread: a worker's process must not start a pool for a few kilobytes.
    return pq.ParquetFile(io.BytesIO(data)).read(columns=schema.names, use_threads=False).cast(schema)


def rows_to_table(rows: list[dict[str, Any]], trial: str, schema: pa.Schema) -> pa.Table:
    """Rows without their `trial` column as a table of `schema`."""
    return pa.Table.from_pylist([{"trial": trial, **row} for row in rows], schema=schema)


def read_counting(store: Store, sources: list[Source], schema: pa.Schema, last: int | None = None) -> pa.Table:
    """The rows of `sources` that count, up to step `last`, sorted by step.

    :raises FileNotFoundError: if a source is gone: its trial was compacted meanwhile.
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
