"""JSON records: what is altered is named, whatever bit it was; what is of another kind too."""

import json
import random
from pathlib import Path

import pytest

from tesseral.study.errors import RecordError
from tesseral.study.records import document
from tesseral.study.records.document import OutcomeRecord, read_document, seal
from tesseral.study.records.store import Store

GOLDEN = json.loads((Path(__file__).parents[2] / "support" / "records.json").read_text())
KINDS = {
    "trial.json": document.TrialRecord,
    "arms": document.ArmRecord,
    "attempts": document.AttemptRecord,
    "outcome.json": document.OutcomeRecord,
    "rungs": document.RungRecord,
    "decisions": document.DecisionRecord,
}
FLIPS = 300


def of_each_kind() -> dict[str, tuple[str, bytes]]:
    """Part of a path that tells a kind → one record of it: its path and bytes."""
    return {part: next((path, text.encode()) for path, text in GOLDEN.items() if part in path) for part in KINDS}


@pytest.mark.parametrize("part", KINDS)
def test_a_flipped_bit_is_seen_or_changes_nothing(tmp_path, part):
    path, data = of_each_kind()[part]
    store, draw = Store(tmp_path), random.Random(20261129)
    store.create(path, data)
    whole = read_document(store, path, KINDS[part])
    silent = 0
    for bit in draw.sample(range(8 * len(data)), min(FLIPS, 8 * len(data))):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        store.replace(path, bytes(flipped))
        try:
            came = read_document(store, path, KINDS[part])
        except RecordError:
            continue
        # Only the name of the checksum's own key may change unseen; what the record says stays.
        silent += {key: value for key, value in came.items() if len(str(value)) != 64 or key in whole} != whole
    assert silent == 0


@pytest.mark.parametrize("part", ["attempts", "rungs", "decisions"])
def test_a_record_that_is_anothers_is_named(tmp_path, part):
    path, data = of_each_kind()[part]
    store, trial = Store(tmp_path), path.split("/")[1]
    store.create(path, data)
    assert read_document(store, path, KINDS[part], trial=trial, lease=1)
    with pytest.raises(RecordError, match=f"is damaged: it is that of trial {trial[:10]}; remove it and run the study"):
        read_document(store, path, KINDS[part], trial="f" * 64)
    with pytest.raises(RecordError, match="is damaged: it is that of lease 1; remove it"):
        read_document(store, path, KINDS[part], trial=trial, lease=2)


@pytest.mark.parametrize("part", KINDS)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000], ids=str)
def test_what_is_no_record_is_named_with_what_to_do(tmp_path, part, data):
    path, _ = of_each_kind()[part]
    Store(tmp_path).create(path, data)
    with pytest.raises(RecordError, match=r"is damaged: .*; remove it and run the study again"):
        read_document(Store(tmp_path), path, KINDS[part])


@pytest.mark.parametrize("part", KINDS)
def test_values_of_another_type_are_named(tmp_path, part):
    path, data = of_each_kind()[part]
    tree = json.loads(data)
    del tree["sha256"]
    required = KINDS[part].__required_keys__
    for key in required:
        Store(tmp_path).replace(path, seal(tree | {key: [[-1]]}))
        with pytest.raises(RecordError, match=f"is damaged: {key}"):
            read_document(Store(tmp_path), path, KINDS[part])
        Store(tmp_path).replace(path, seal({name: value for name, value in tree.items() if name != key}))
        with pytest.raises(RecordError, match=f"is damaged: {key}: field required"):
            read_document(Store(tmp_path), path, KINDS[part])


def test_what_was_sealed_is_read(store):
    record = {
        "state": "failed",
        "files": {},
        "checkpoint": None,
        "ended": "2026-11-29T10:00:00+00:00",
        "metrics": {"test.ε": 0.1},
        "reason": "“”",
    }
    store.create("a", seal(record))
    assert read_document(store, "a", OutcomeRecord) == record
    assert read_document(store, "b", OutcomeRecord) is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_numbers_are_finite(tmp_path, value):
    ended = "2026-11-29T10:00:00+00:00"
    text = f'{{"state":"failed","files":{{}},"checkpoint":null,"ended":"{ended}","metrics":{{"test.mse":{value}}}}}'
    Store(tmp_path).create("a", text.encode())
    with pytest.raises(RecordError, match="is damaged"):
        read_document(Store(tmp_path), "a", OutcomeRecord)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("outcome.json", "ended", "2026-19-29T10:00:00+00:00"),
        ("outcome.json", "peak_memory", 1.5),
        ("attempts", "began", "2026x11-29T10:00:00+00:00"),
        ("trial.json", "unreachable", 5),
        ("trial.json", "provenance", {"commit": 7}),
        ("trial.json", "parameters", 3.5),
        ("trial.json", "block", 2**31),
        ("trial.json", "target", ["density"]),
    ],
)
def test_records_without_a_checksum_have_values_that_tables_can_hold(tmp_path, part, key, value):
    """One altered character of a record of an earlier version is named, and no table fails on it."""
    path, data = of_each_kind()[part]
    tree = {key: value for key, value in json.loads(data).items() if key != "sha256"}
    Store(tmp_path).create(path, json.dumps(tree | {key: value}).encode())
    with pytest.raises(RecordError, match=f"is damaged: {key}.*; remove it and run the study again"):
        read_document(Store(tmp_path), path, KINDS[part])
