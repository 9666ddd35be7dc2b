"""The tables of a trial as sealed Parquet segments, and which of their rows count.

A segment `<table>/trial=<id>/<attempt>-<first>-<last>-<hash>.parquet` holds the rows of one attempt from step `first`
to `last`; the hash is that of its content. At every checkpoint and rung both tables are sealed, if need be by a segment
without rows. So the segments that count *tile* the steps: each begins where the one before ends, and the listing shows
one that is missing or there twice. When a trial ends, its segments are compacted into one that covers all of its steps,
which its outcome names.

Rows of attempt n count only below the start step of every later attempt. An attempt that began under a superseded lease
does not count at all, nor does one that is at or below n where `attempts/<n>.failed.json` is: its trial failed and was
retried. So a worker that was thought dead can still write, and changes nothing.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tesseral.study.errors import RecordError
from tesseral.study.records.document import AttemptRecord, Json, read_document
from tesseral.study.records.schemas import CURVES, TRACES
from tesseral.study.records.store import Store

TABLES = {"curves": CURVES, "traces": TRACES}

_ATTEMPT = re.compile(r"(\d+)\.json")
_FAILED = re.compile(r"(\d+)\.failed\.json")
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)(-all)?-([0-9a-f]{16})\.parquet")
# Those of earlier versions: no first step and no hash.
_UNCHECKED = re.compile(r"(\d+)-(\d+)\.parquet")
_UNCHECKED_ALL = re.compile(r"(\d+)(?:-(\d+))?-all\.parquet")
_END = 2**62
_HASHED = re.compile(r".*-([0-9a-f]{16})(\.parquet)?")
CHECKPOINT = re.compile(r"(\d+)-(\d+)(-[0-9a-f]{16})?")
"""Name of a checkpoint: number of the attempt, step and, but in earlier versions, hash of the content."""


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
    """Host, node and process id of its worker: machines in containers may share a name and process ids."""
    tiled: bool = True
    """Whether its segments tile the steps. Those of earlier versions do not, so nothing can be missed among them."""
    failed: bool = False
    """Whether its trial failed and was retried."""


@dataclass(frozen=True)
class Source:
    """A Parquet file whose rows with step < `below` count; all of them if None."""

    path: str
    trial: str
    below: int | None


@dataclass(frozen=True)
class Segment:
    """What the name of a segment says."""

    path: str
    attempt: int
    first: int | None
    """First step that it covers; None in earlier versions."""
    last: int
    compacted: bool = False
    """Whether it holds the rows of all attempts that counted, from step 0 on."""

    @classmethod
    def named(cls, path: str) -> "Segment | None":
        """Read a file's name; None if it is not that of a segment."""
        name = path.rpartition("/")[2]
        if match := _NAME.fullmatch(name):
            return cls(path, int(match[1]), int(match[2]), int(match[3]), match[4] is not None)
        if match := _UNCHECKED.fullmatch(name):
            return cls(path, int(match[1]), None, int(match[2]))
        if match := _UNCHECKED_ALL.fullmatch(name):
            return cls(path, int(match[1]), None, int(match[2] or _END), compacted=True)
        return None


def read_begins(store: Store, trial: str) -> list[Begin]:
    """Return the attempts of a trial, in order of number.

    One whose record is damaged is left out, with a warning. Its rows and checkpoints then do not count, and are trained
    again.
    """
    begins = []
    paths = store.paths(f"trials/{trial}/attempts")
    failed = max(failed_attempts(paths), default=0)
    for number, path in attempt_numbers(paths).items():
        try:
            tree = read_document(store, path, AttemptRecord, trial=trial, attempt=number)
        except RecordError as error:
            warnings.warn(f"{error} (until then this attempt is left out)", stacklevel=2)
            continue
        if tree is not None:
            begins.append(begin_of(tree, failed))
    return sorted(begins, key=lambda b: b.number)


def begin_of(tree: Json, failed: int = 0) -> Begin:
    """Return the beginning of an attempt that its record holds.

    :param tree: content of the record.
    :param failed: number of the last attempt after which its trial failed and was retried.
    """
    worker = f"{tree.get('host', '')}:{tree.get('node', '')}:{tree.get('pid', tree['attempt'])}"
    tiled = tree.get("version", 1) >= 2
    number = tree["attempt"]
    return Begin(number, tree["lease"], tree["start"], tree.get("parts", 1), worker, tiled, number <= failed)


def attempt_numbers(paths: Iterable[str]) -> dict[int, str]:
    """Return attempt number → path of its record, of those of `paths` that are records of attempts."""
    names = {path: _ATTEMPT.fullmatch(path.rpartition("/")[2]) for path in paths}
    return {int(match[1]): path for path, match in names.items() if match}


def failed_attempts(paths: Iterable[str]) -> dict[int, str]:
    """Return attempt number → path of the outcome that was set aside there, of those of `paths` that are such ones."""
    names = {path: _FAILED.fullmatch(path.rpartition("/")[2]) for path in paths}
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
    for begin in reversed([begin for begin in valid if not begin.failed]):
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
    """Return whether a file is a segment, by its name. Other files are never deleted."""
    return Segment.named(path) is not None


def is_checkpoint(path: str) -> bool:
    """Return whether a file is a checkpoint, by its name. Other files are never deleted.

    :param path: of a file in a folder of checkpoints.
    """
    return bool(CHECKPOINT.fullmatch(path.rpartition("/")[2]))


def tile(
    paths: Iterable[str], trial: str, begins: Sequence[Begin], last: int | None = None
) -> tuple[list[Source], int]:
    """Choose the segments of a trial whose rows count, each step once.

    :param paths: files of one table of the trial.
    :param begins: attempts of the trial.
    :param last: step up to which the rows are wanted; None for as far as they go.
    :returns: the segments, and the first step that they lack.
    """
    bounds = counting(begins)
    segments = [segment for path in paths if (segment := Segment.named(path)) and segment.attempt in bounds]
    if any(not begin.tiled and begin.number in bounds for begin in begins):
        chosen = _untiled(segments)
        return [Source(s.path, trial, bounds[s.attempt]) for s in chosen], 0 if last is None else last + 1
    by_first: dict[int, list[tuple[int, Segment]]] = {}
    for segment in segments:
        if segment.first is None:
            continue
        bound = bounds[segment.attempt]
        end = segment.last if bound is None else min(segment.last, bound - 1)
        if end >= segment.first:
            by_first.setdefault(segment.first, []).append((end, segment))
    sources, step = [], 0
    while step in by_first and (last is None or step <= last):
        end, segment = max(by_first[step], key=lambda item: item[0])
        sources.append(Source(segment.path, trial, bounds[segment.attempt]))
        step = end + 1
    return sources, step


def _untiled(segments: list[Segment]) -> list[Segment]:
    """The segments of a trial of an earlier version, whose names do not tell where they begin: none can be missed."""
    parts = [segment for segment in segments if not segment.compacted]
    # A compacted file holds the rows of its attempt and of those before it; one of a pruned trial, only up to a rung.
    whole = [segment for segment in segments if segment.compacted and (segment.last == _END or not parts)]
    if not whole:
        return parts
    latest = max(whole, key=lambda segment: (segment.attempt, segment.last))
    return [latest, *(part for part in parts if part.attempt > latest.attempt)]


def missing(paths: Iterable[str], begins: Iterable[Begin], lacked: int) -> bool:
    """Return whether segments lie beyond the first step that `tile` lacks, so that one before them was lost."""
    bounds = counting(begins)
    for segment in filter(None, map(Segment.named, paths)):
        bound = bounds.get(segment.attempt, 0)
        if segment.first is not None and segment.first > lacked and (bound is None or segment.first < bound):
            return True
    return False


def named(stem: str, data: bytes, suffix: str = "") -> str:
    """Return the name of a file that proves its content: the stem, then the start of the content's SHA-256."""
    return f"{stem}-{hashlib.sha256(data).hexdigest()[:16]}{suffix}"


def altered(path: str, data: bytes) -> bool:
    """Return whether the content of a file is not the one that its name states."""
    stated = _HASHED.fullmatch(path.rpartition("/")[2])
    return stated is not None and stated[1] != hashlib.sha256(data).hexdigest()[:16]


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


def read_segment(store: Store, path: str, trial: str, schema: pa.Schema) -> pa.Table | None:
    """Return the rows of a segment; None if it is gone.

    :raises RecordError: if it is damaged, or holds rows of another trial.
    """
    data = store.read(path)
    if data is None:
        return None
    location = store.location(path)
    if altered(path, data):
        raise RecordError(f"{location} is damaged: its content does not match the hash in its name")
    try:
        table = decode(data, schema)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{location} is damaged: {str(error).splitlines()[0]}") from None
    if not pc.all(pc.equal(table["trial"], trial), min_count=0).as_py():
        raise RecordError(f"{location} is damaged: it holds rows of another trial")
    return table


def intact(store: Store, paths: Sequence[str], trial: str, table: str) -> list[str]:
    """Return those of a trial's segments whose content is whole. A warning names each of the others."""
    whole = []
    for path in paths:
        try:
            read_segment(store, path, trial, TABLES[table])
        except RecordError as error:
            warnings.warn(f"{error}; what it held is trained again", stacklevel=2)
        else:
            whole.append(path)
    return whole


def read_counting(store: Store, sources: list[Source], schema: pa.Schema, last: int | None = None) -> pa.Table:
    """Return the rows of `sources` that count, up to step `last`, sorted by step.

    :param store: the study's records.
    :param sources: of one trial and one table.
    :param schema: of the table.
    :param last: last step whose rows are returned; None returns all.
    :raises FileNotFoundError: if a source is gone, because its trial was compacted meanwhile.
    :raises RecordError: if a source is damaged.
    """
    parts = [schema.empty_table()]
    for source in sources:
        part = read_segment(store, source.path, source.trial, schema)
        if part is None:
            raise FileNotFoundError(source.path)
        parts.append(part if source.below is None else part.filter(pc.less(part["step"], source.below)))
    table = pa.concat_tables(parts)
    return (table if last is None else table.filter(pc.less_equal(table["step"], last))).sort_by("step")
