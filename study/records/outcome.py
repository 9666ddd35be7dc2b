"""The end of a trial: its tables are compacted, its outcome is sealed, and its segments are deleted, in this order.

The name of every file that an outcome names holds the hash of its content, and the outcome holds its own. So a finished
trial accounts for each of its rows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tesseral.study.configuration.trial import State
from tesseral.study.errors import MissingRowsError, RecordError
from tesseral.study.records.document import Json, OutcomeRecord, damaged, read_document, seal
from tesseral.study.records.segments import (
    TABLES,
    Begin,
    altered,
    encode,
    folder,
    is_checkpoint,
    is_segment,
    named,
    read_counting,
    tile,
)
from tesseral.study.records.store import ABANDONED, Store


def seal_outcome(
    store: Store, trial: str, number: int, state: State, begins: list[Begin], last: int, **facts: Any
) -> bool:
    """Compact the rows that count into one file a table, seal the outcome that names them, delete the rest.

    Another process may do the same; the first to seal wins.

    :param number: that of the latest attempt; 0 if there is none.
    :param state: final state of the trial.
    :param begins: attempts of the trial.
    :param last: last step whose rows are kept.
    :param facts: further keys of the outcome. `metrics` are by default the last finite values of the rows that count.
    :returns: whether this call sealed the outcome.
    :raises MissingRowsError: if segments are gone that held rows up to `last`, or one is damaged.
    """
    ended = f"trials/{trial}/outcome.json"
    files: dict[str, int] = {}
    metrics: dict[str, float] = {}
    for table, schema in TABLES.items():
        sources, lacked = tile(store.paths(folder(table, trial)), trial, begins, last)
        try:
            rows = read_counting(store, sources, schema, last)
        except FileNotFoundError:
            lacked = 0
        except RecordError as error:
            raise MissingRowsError(str(error)) from error
        if lacked <= last and last > 0:
            if store.read(ended) is not None:
                return False  # another process has sealed the outcome and deleted the segments
            raise MissingRowsError(
                f"{store.location(folder(table, trial))} lacks rows from step {lacked}, which were sealed there"
            )
        if table == "curves":
            metrics = _last(rows)
            if state is not State.FAILED and not rows.num_rows:
                raise MissingRowsError(f"expected learning curves of the {state} trial {trial[:10]}, got no row")
        data = encode(rows)
        path = f"{folder(table, trial)}/{named(f'{number}-0-{last}-all', data, '.parquet')}"
        if not store.create(path, data):
            raise damaged(store, path, "its content does not match the hash in its name")
        files[path] = rows.num_rows
    for path in files:  # read back, before what they replace is deleted
        content = store.read(path)
        if content is None or altered(path, content):
            raise MissingRowsError(f"{store.location(path)} was written and cannot be read back")
    outcome = {
        "trial": trial,
        "state": state,
        "attempts": len(begins),
        "files": files,
        "ended": datetime.now(UTC).isoformat(),
        "metrics": metrics,
        **facts,
    }
    outcome["checkpoint"] = facts.get("checkpoint") if state == State.COMPLETE else None
    ours = store.create(ended, seal(outcome))
    clear(store, trial)
    return ours


def _last(curves: pa.Table) -> dict[str, float]:
    """Return the last finite value of each split and metric, such as `validation.block_error.l2`.

    :param curves: rows, sorted by step.
    """
    finite = curves.filter(pc.is_finite(curves["value"]))
    last = finite.group_by(["split", "metric", "l"], use_threads=False).aggregate([("value", "last")])
    return {
        ".".join((row["split"], row["metric"], *([] if row["l"] is None else [f"l{row['l']}"]))): row["value_last"]
        for row in last.to_pylist()
    }


def sweep(store: Store, outcomes: Mapping[str, Json]) -> None:
    """Delete what killed processes left behind, by one listing of the study.

    These are segments and checkpoints that no outcome names, of trials that have one, and half-written files.

    :param store: the study's records.
    :param outcomes: trial id → outcome, of all finished trials.
    """
    kept = {path for outcome in outcomes.values() for path in (*outcome["files"], outcome["checkpoint"])}
    listed = [path for prefix in (*TABLES, "trials") for path in store.paths(prefix)]
    there = set(listed)
    # Where a file is gone that an outcome names, what it was made of may still restore it.
    whole = {trial for trial, outcome in outcomes.items() if there.issuperset(outcome["files"])}
    left = []
    for path in listed:
        trial = path.split("/")[1].removeprefix("trial=")
        if trial in whole and path not in kept and (is_segment(path) or is_checkpoint(path)):
            left.append(path)
    store.delete(left + store.stale(ABANDONED))


def clear(store: Store, trial: str) -> None:
    """Delete the segments and checkpoints of a finished trial, except those that its outcome names."""
    outcome = read_document(store, f"trials/{trial}/outcome.json", OutcomeRecord)
    if outcome is None:
        return
    kept = {*outcome["files"], outcome["checkpoint"]}
    written = [path for name in TABLES for path in store.paths(folder(name, trial)) if is_segment(path)]
    written += [path for path in store.paths(f"trials/{trial}/checkpoint") if is_checkpoint(path)]
    store.delete([path for path in written if path not in kept])
