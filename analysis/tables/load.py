"""A study's records as tables: trials in memory, curves and traces as lazy scans over their valid files."""

import io
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from errno import ENOENT
from functools import partial
from itertools import chain
from typing import Self

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from tesseral.analysis.tables.search import SearchRecords
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError
from tesseral.study.records.schemas import CURVES, TRACES, TRIALS, VERSION, table_name
from tesseral.study.records.segments import Source, altered
from tesseral.study.records.store import Store

_ADVICE = "remove outcome.json of that trial and run the study again"


@dataclass(frozen=True, repr=False)
class StudyTables:
    """A study and its records.

    Curves and traces are read when collected. Collect them soon: if a running study has compacted a file in between,
    collecting raises `FileNotFoundError`; `tesseral.read_study` then opens the study anew.
    """

    study: StudyInfo
    """Settings of the study: arms, targets, baselines, design."""
    trials: pl.DataFrame
    """One row a trial and arm: `study.records.schemas.TRIALS` with `factor.`, `setting.` and `metric.` columns."""
    curves: pl.LazyFrame
    """Learning curves, `study.records.schemas.CURVES`."""
    traces: pl.LazyFrame
    """Feature traces, `study.records.schemas.TRACES`."""
    search: SearchRecords
    """Proposals, rungs and winners of the search; empty without one."""
    left_out: tuple[str, ...] = ()
    """A sentence for each file that could not be read."""

    def __repr__(self) -> str:
        confirm = self.trials.filter(pl.col("stage") == "confirm")
        complete = confirm.filter(pl.col("state") == State.COMPLETE.value).height
        # Trials are recorded when they are due: fewer than planned at first, more if an allocation adds blocks.
        planned = max(confirm.height, len(self.study.arms) * self.study.blocks * self.study.replicates)
        return f"StudyTables({self.study.name}: {complete:,} of {planned:,} trials complete)"

    def by_group(self) -> list[Self]:
        """The tables of each group of arms. Comparisons made from them are corrected within the group only."""
        groups = self.study.groups.values()
        return [self] if len(groups) < 2 else [self._only(arms) for arms in groups]

    def _only(self, arms: tuple[str, ...]) -> Self:
        own = pl.col("arm").is_in(list(arms))
        best = {search: record for search, record in self.search.best.items() if search[0] in arms}
        search = replace(self.search, proposals=self.search.proposals.filter(own), best=best)
        study = replace(self.study, arms=arms, baseline=self.study.baseline_of(arms[0]) or arms[0])
        return replace(self, study=study, trials=self.trials.filter(own), search=search)


def load(
    trials: pa.Table | pl.DataFrame,
    curves: Iterable[Source],
    traces: Iterable[Source],
    study: StudyInfo,
    search: SearchRecords | None = None,
) -> StudyTables:
    """Build the tables of a study from its files. To open a study by its name, use `tesseral.open_study`.

    Curves and traces stay lazy: only the footers of their files are read here.

    :param trials: the derived trials table; missing columns of `TRIALS` become null.
    :param curves: the valid Parquet files of learning curves, by absolute path or URL.
    :param traces: the valid Parquet files of feature traces.
    :param study: settings of the study.
    :param search: records of its search; None without a search.
    :raises FileNotFoundError: if a segment is gone. Its trial ended and was compacted after the segments were listed;
        list them again, because its rows are in another file now.

    A file that is torn, foreign, of another version, or compacted and missing is left out, with a warning and a
    sentence in `left_out`.
    """
    frame = trials_frame(trials)
    curve_scan, curves_left_out = _scan(curves, CURVES)
    trace_scan, traces_left_out = _scan(traces, TRACES)
    left_out = (*curves_left_out, *traces_left_out)
    for sentence in left_out:
        warnings.warn(sentence, stacklevel=2)
    return StudyTables(study, frame, curve_scan, trace_scan, search or SearchRecords(), left_out)


def trials_frame(trials: pa.Table | pl.DataFrame) -> pl.DataFrame:
    """The trials table with every column of `TRIALS`; missing ones are null."""
    frame = trials if isinstance(trials, pl.DataFrame) else pl.DataFrame(pl.from_arrow(trials))
    declared = _polars_schema(TRIALS)
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in declared.items() if name not in frame.columns]
    return frame.with_columns(absent).cast(declared)


def _scan(sources: Iterable[Source], schema: pa.Schema) -> tuple[pl.LazyFrame, list[str]]:
    """One scan over all files that are valid as a whole, and one for each file that is valid below a step."""
    once = _once(sources)
    # In threads, because a network takes a round trip for each file. In at most 256 portions, because to hand over a
    # file takes as long as to read it from a disk.
    paths = list(once)
    portion = len(paths) // 256 + 1
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(
            lambda start: [_objection(path, schema) for path in paths[start : start + portion]],
            range(0, len(paths), portion),
        )
        objections = list(chain.from_iterable(found))
    readable = {path: below for (path, below), fault in zip(once.items(), objections, strict=True) if not fault}
    columns = _polars_schema(schema)
    # Paths are exact, so `*` and `trial=` in them have no meaning. `hidden_file_prefix` is not passed, because it would
    # drop a listed file silently.
    scan = partial(
        pl.scan_parquet,
        schema=columns,
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
        hive_partitioning=False,
    )
    whole = [path for path, below in readable.items() if below is None]
    scans = [scan(whole)] if whole else []
    scans += [scan(path).filter(pl.col("step") < below) for path, below in readable.items() if below is not None]
    frame = pl.concat(scans) if scans else pl.LazyFrame(schema=columns)
    return frame, [fault for fault in objections if fault]


def _once(sources: Iterable[Source]) -> dict[str, int | None]:
    """Each path once, with the lowest of its bounds, so that a file listed twice is not counted twice."""
    bounds: dict[str, int | None] = {}
    for source in sources:
        known = [b for b in (bounds.get(source.path), source.below) if b is not None]
        bounds[source.path] = min(known, default=None)
    return bounds


def _objection(path: str, schema: pa.Schema) -> str | None:
    """A sentence on why a file cannot be read as a table of `schema`, or None."""
    expected = table_name(schema)
    place, _, name = path.rpartition("/")
    # Read whole, once: the hash in its name then proves every row, before Polars parses any.
    try:
        data = Store(place).read(name)
    except RecordError:
        if "-all" not in name:
            raise
        return f"{path} is left out: something that is no file has its place; move it away, {_ADVICE}"
    if data is None:
        if "-all" not in name:
            raise FileNotFoundError(ENOENT, "the file was there and is gone; run the command again", path)
        return f"{path} is left out: the trial's outcome names it, but it is missing; {_ADVICE}"
    if altered(path, data):
        return f"{path} is left out: it is damaged, for its content does not match the hash in its name; {_ADVICE}"
    try:
        metadata = pl.read_parquet_metadata(io.BytesIO(data))
    except (PolarsError, OSError) as error:
        return f"{path} is left out: it is not a readable Parquet file ({str(error).splitlines()[0]})"
    actual = table_name(pa.schema([], metadata=metadata))
    if actual != expected:
        came = f"table {actual[0]!r} of version {actual[1]}" if actual else "a file that tesseral did not write"
        return f"{path} is left out: expected table {expected[0]!r} of version {VERSION}, got {came}"  # type: ignore[index]
    return None


def _polars_schema(schema: pa.Schema) -> pl.Schema:
    return pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
