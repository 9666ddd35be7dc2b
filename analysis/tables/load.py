"""A study's records as tables: trials in memory, curves and traces as lazy scans over the files that count."""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from tesseral.analysis.tables.search import SearchRecords
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.study.records.schemas import CURVES, TRACES, TRIALS, VERSION, table_name
from tesseral.study.records.segments import Source

_COMPACTED = "-all.parquet"
"""End of the name of a file that an outcome names and nothing ever deletes, unlike the segments it was made of."""


@dataclass(frozen=True)
class StudyTables:
    """A study and its records. Curves and traces are read when collected, so collect them soon: a file that a
    running study has compacted since makes the collection raise `FileNotFoundError`; see `open.read_study`."""

    study: StudyInfo
    trials: pl.DataFrame
    """`study.records.TRIALS` with `factor.`, `setting.` and `metric.` columns."""
    curves: pl.LazyFrame
    """`study.records.CURVES`."""
    traces: pl.LazyFrame
    """`study.records.TRACES`."""
    search: SearchRecords
    left_out: tuple[str, ...] = ()
    """One sentence for each file that could not be read."""

    def by_group(self) -> list[Self]:
        """The study of each group of arms alone. Holm's correction in them is over fewer comparisons than in all."""
        groups = self.study.groups.values()
        return [self] if len(groups) < 2 else [self._only(arms) for arms in groups]

    def _only(self, arms: tuple[str, ...]) -> Self:
        own = pl.col("arm").is_in(list(arms))
        best = {arm: record for arm, record in self.search.best.items() if arm in arms}
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
    """Open the records of a study. Nothing but footers is read of `curves` and `traces` until they are collected.

    :param trials: the derived trials table; columns of `TRIALS` that it lacks become null.
    :param curves: the Parquet files of learning curves that count, by absolute path or URL.
    :param traces: the same of feature traces.
    :param search: of `search.read_search`, where the study has a search.
    :raises FileNotFoundError: if a segment is gone: its trial ended and was compacted after the segments were listed,
        so they have to be listed again, for its rows are in another file now.

    A file that is torn, foreign, of another version, or compacted and gone for good, is named in a warning and in
    `left_out`.
    """
    frame = trials_frame(trials)
    curve_scan, curves_left_out = _scan(curves, CURVES)
    trace_scan, traces_left_out = _scan(traces, TRACES)
    left_out = (*curves_left_out, *traces_left_out)
    for sentence in left_out:
        warnings.warn(sentence, stacklevel=2)
    return StudyTables(study, frame, curve_scan, trace_scan, search or SearchRecords(), left_out)


def trials_frame(trials: pa.Table | pl.DataFrame) -> pl.DataFrame:
    """The trials table with every column of `TRIALS`, null where it lacks one."""
    frame = trials if isinstance(trials, pl.DataFrame) else pl.DataFrame(pl.from_arrow(trials))
    declared = _polars_schema(TRIALS)
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in declared.items() if name not in frame.columns]
    return frame.with_columns(absent).cast(declared)


def _scan(sources: Iterable[Source], schema: pa.Schema) -> tuple[pl.LazyFrame, list[str]]:
    """One scan over all files that count whole, and one for each that counts below a step."""
    once = _once(sources)
    # A footer takes 30 µs on a disk but a round trip on an object store, hence the threads.
    with ThreadPoolExecutor(16) as pool:
        objections = list(pool.map(partial(_objection, schema=schema), once))
    readable = {path: below for (path, below), fault in zip(once.items(), objections, strict=True) if not fault}
    columns = _polars_schema(schema)
    # Paths are exact, so neither `*` nor `trial=` in them means anything; `hidden_file_prefix` is not passed,
    # for it would drop a listed file without a word.
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
    """Each path once, with the lowest of its bounds: a file named twice must not count twice."""
    bounds: dict[str, int | None] = {}
    for source in sources:
        known = [b for b in (bounds.get(source.path), source.below) if b is not None]
        bounds[source.path] = min(known, default=None)
    return bounds


def _objection(path: str, schema: pa.Schema) -> str | None:
    """Why a file cannot be read as a table of `schema`, as a sentence, or None."""
    expected = table_name(schema)
    try:
        metadata = pl.read_parquet_metadata(path)
    except FileNotFoundError:
        if not path.endswith(_COMPACTED):
            raise
        return f"{path} is left out: the trial's outcome names it, but it is gone"
    except (PolarsError, OSError) as error:
        return f"{path} is left out: it is no readable Parquet file ({str(error).splitlines()[0]})"
    found = table_name(pa.schema([], metadata=metadata))
    if found != expected:
        came = f"table {found[0]!r} of version {found[1]}" if found else "a foreign file"
        return f"{path} is left out: expected table {expected[0]!r} of version {VERSION}, got {came}"  # type: ignore[index]
    return None


def _polars_schema(schema: pa.Schema) -> pl.Schema:
    return pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
