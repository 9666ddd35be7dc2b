"""The JSON records of a fixed study and of two fixed attempts, and the schemas of all tables, have fixed bytes.

Records that differed in a byte could not be compared with, or reused from, those of an earlier version.
"""

import hashlib
import json
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError
from tesseral.study.records import attempt, outcome, schemas
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.document import UNCHECKED
from tesseral.study.records.ledger import Ledger, freeze, frozen, write_arm, write_plan
from tesseral.study.records.rungs import prune, seal_pruning
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.confirm_trials import confirm_trials
from tests.support.mistakes import STUDY

SUPPORT = Path(__file__).parents[2] / "support"
GOLDEN = SUPPORT / "records.json"
"""Path of a record → its text; the study file is in it, as it is frozen."""
FIRST = SUPPORT / "records_1.json"
"""The same, as the first version wrote it: without checksums."""
SECOND = SUPPORT / "records_2.json"
"""The same with checksums, in which attempts, rungs and decisions do not name their trial."""


SCHEMAS = {
    "TRIALS": "d1b9f577714af73940bced9fe4f926d932be55706d3981a85878fb22dc91e0e4",
    "CURVES": "26ffd23cc4e96fcd12fcde72f39a3d5c0a2763b8c47bfe7f886225f92245396a",
    "TRACES": "c50a92ae2738841a8ef0dbd7c617e5ae771cb141cbbe53b756af95edd26aa775",
    "REFERENCE": "762c2052fca9bbc10b1f1291226192825eafd997983e0207dda1ded301d7f9f6",
}
"""Table → SHA-256 of its fields and metadata. A new column changes it; those that are there keep their bytes."""


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 2, 12, 0, 0, 500, tzinfo=UTC)


def record(store: Store) -> dict[str, str]:
    """The records of a trial that completes and of one that is pruned."""
    study = Study.parse(STUDY, "try.toml")
    freeze(store, study)
    complete, pruned, shared = confirm_trials(study, {"reference/water.parquet": "abc"}, numerics=1)[:3]
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
        assert stable(text) == stable(golden[path]), path


def test_a_configuration_of_the_first_version_that_was_altered_is_named(tmp_path):
    store = Store(tmp_path)
    for path, text in json.loads(FIRST.read_text()).items():
        store.create(path, text.replace('"l2"', '"l1"').replace('"epochs":4', '"epochs":5').encode())
    with pytest.raises(RecordError, match="its configuration does not have its id"):
        Ledger(store, strict=True).entries()


def stable(text: str) -> str:
    """A record without the hashes of Parquet files, which hold the version of pyarrow, nor its own over them."""
    named = re.sub(r"-[0-9a-f]{16}\.parquet", ".parquet", text)
    return text if named == text else re.sub(r'"sha256":"[0-9a-f]{64}"', "", named)


@pytest.mark.parametrize("golden", [GOLDEN, SECOND, FIRST], ids=["now", "second", "first"])
def test_records_of_every_version_are_read_alike(tmp_path, golden):
    store = Store(tmp_path)
    for path, text in json.loads(golden.read_text()).items():
        store.create(path, text.encode())
    assert frozen(store).name == "try"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read = {entry.id[:4]: entry for entry in Ledger(store, strict=True).entries()}
    assert {str(warning.message) for warning in told} == ({UNCHECKED} if golden == FIRST else set())
    assert {key: entry.state.value for key, entry in read.items()} == {"49f0": "pruned", "5b01": "complete"}
    assert read["5b01"].outcome["metrics"] == {"test.epsilon": 0.3}
    assert [begin["start"] for begin in read["49f0"].begins] == [0]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_tables_keep_their_schemas(name):
    """Names, types and metadata, descriptions among them, are stored in every Parquet file of a table."""
    schema = getattr(schemas, name)
    fields = [[field.name, str(field.type), field.nullable, plain(field.metadata)] for field in schema]
    text = json.dumps([fields, plain(schema.metadata)])
    assert hashlib.sha256(text.encode()).hexdigest() == SCHEMAS[name]


def plain(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}
