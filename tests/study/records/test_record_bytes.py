"""The JSON records of a fixed study and of two fixed attempts, and the schemas of all tables, have fixed bytes.

Records that differed in a byte could not be compared with, or reused from, those of an earlier version.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tesseral.study.configuration.trial import State
from tesseral.study.records import attempt, outcome, schemas
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.ledger import freeze, write_arm, write_plan
from tesseral.study.records.rungs import prune, seal_pruning
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.mistakes import STUDY

GOLDEN = Path(__file__).parents[2] / "support" / "records.json"
"""Path of a record → its text, as first written; the study file is in it, as it is frozen."""


SCHEMAS = {
    "TRIALS": "333d399e1240a854439ab08a80d1b4e8bbcd59316c503694a7a7b9c423d2248a",
    "CURVES": "26ffd23cc4e96fcd12fcde72f39a3d5c0a2763b8c47bfe7f886225f92245396a",
    "TRACES": "c50a92ae2738841a8ef0dbd7c617e5ae771cb141cbbe53b756af95edd26aa775",
    "REFERENCE": "a701c5234802b23c1e4644af5c34f4b731da4e3ebd292f9e4e79440192a0eee8",
}
"""Table → SHA-256 of its fields and metadata, as first written."""


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 2, 12, 0, 0, 500, tzinfo=UTC)


def record(store: Store) -> dict[str, str]:
    """The records of a trial that completes and of one that is pruned."""
    study = Study.parse(STUDY, "try.toml")
    freeze(store, study)
    complete, pruned, shared = study.confirm({"reference/water.parquet": "abc"}, numerics=1)[:3]
    for planned in (complete, pruned):
        facts = {"max_steps": 12, "target": "density", "parameters": 1234, "residual": 0.001, "unreachable": ""}
        write_plan(store, planned, study.name, **facts, traces={"probe": 8}, provenance={"commit": None})
    write_arm(store, shared, parameters=1234)
    for planned in (complete, pruned):
        began = Attempt.begin(
            store,
            planned.trial.id,
            1,
            {"host": "here", "pid": 7},
            seal_every=0.0,
            checkpoint_every=1e9,
            rungs={6: 2},
            objective="validation.l2_error",
        )
        assert began is not None
        began._began = 998.0
        for step in (0, 6):
            row = {"step": step, "epoch": step // 3, "split": "validation", "metric": "l2_error", "l": None}
            began.curves([row | {"value": 50.0 / (step + 1)}, row | {"metric": "block_error", "l": 1, "value": 0.1}])
            began.boundary(step, 12, lambda: b"weights", {"validation.l2_error": 50.0 / (step + 1)})
        if planned is complete:
            began.boundary(12, 12, lambda: b"weights", {})
            began.finish(State.COMPLETE, 12, metrics={"test.epsilon": 0.3}, seconds=1.5, device="cpu")
        else:
            seal_pruning(store, planned.trial.id, 1, 2, 6, "7.14 is not among the best third of its arm")
            prune(store, planned.trial.id, 1)
    paths = [path for path in store.paths() if path.endswith((".json", ".toml"))]
    return {path: (store.read(path) or b"").decode() for path in paths}


def test_json_records_keep_their_bytes(tmp_path, monkeypatch):
    for module in (attempt, outcome):
        monkeypatch.setattr(module, "datetime", Noon)
    monkeypatch.setattr(attempt, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    written = record(Store(tmp_path))
    golden = json.loads(GOLDEN.read_text())
    assert list(written) == list(golden)
    for path, text in written.items():
        assert text == golden[path], path


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_tables_keep_their_schemas(name):
    """Names, types and metadata, descriptions among them, are stored in every Parquet file of a table."""
    schema = getattr(schemas, name)
    fields = [[field.name, str(field.type), field.nullable, plain(field.metadata)] for field in schema]
    text = json.dumps([fields, plain(schema.metadata)])
    assert hashlib.sha256(text.encode()).hexdigest() == SCHEMAS[name]


def plain(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}
