"""The frozen study file: damage is named, with what to do; how many searches an arm has is what it was."""

import hashlib
import json
import warnings
from pathlib import Path

import pytest

from tesseral.study.changes import Changes, changes
from tesseral.study.errors import RecordError
from tesseral.study.records.document import seal
from tesseral.study.records.ledger import Ledger, freeze, frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.water_study import water_study


@pytest.mark.parametrize("kept", [0, 40])
def test_a_torn_study_file_is_named(tmp_path, kept):
    store = Store(tmp_path)
    freeze(store, Study.parse(water_study("small"), "small.toml"))
    path = tmp_path / "study.toml"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RecordError, match=r"study\.toml is damaged: it is torn, or no study file .*; remove it"):
        frozen(store)


SEARCH = """
[search]
trials = 12
[search.space]
training.learning_rate = { low = 1e-3, high = 1e-1, log = true }
"""


def test_the_number_of_searches_is_frozen_with_the_study(tmp_path):
    """Twelve proposals are three searches of four; another default later does not change a study that goes on."""
    store, text = Store(tmp_path), water_study("small") + SEARCH
    study = Study.parse(text, "small.toml")
    assert study.repeats == 3
    assert freeze(store, study) is None
    lines = (tmp_path / "study.toml").read_text().removeprefix(text).splitlines()
    assert lines[:2] == ["", "# search.repeats = 3, with a hold-out"]
    assert frozen(store).file.search.repeats == 3
    other = Study.parse(text.replace("trials = 12", "trials = 12\nrepeats = 2"), "small.toml")
    found = changes(other.continuing(frozen(store)), frozen(store))
    assert found.refused == ("search.repeats is 2 and was 3",)
    written = Study.parse(text.replace("trials = 12", "trials = 12\nrepeats = 3"), "small.toml")
    assert changes(written, frozen(store)) == Changes()
    path = tmp_path / "study.toml"
    path.write_text(path.read_text().replace("# search.repeats = 3", "# search.repeats = 2"))
    with pytest.raises(RecordError, match="its checksum does not match its content"):
        frozen(store)


def test_a_study_of_a_time_without_repeats_goes_on_with_one_search_in_each_arm(tmp_path):
    text = water_study("small") + SEARCH
    digest = hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "study.toml").write_text(f"{text}\n# sha256 {digest}\n")
    before, study = frozen(Store(tmp_path)), Study.parse(text, "small.toml")
    assert before.repeats == 1
    assert changes(study, before).refused == ("search.repeats is 3 and was 1",)
    assert study.continuing(before).repeats == 1
    assert changes(study.continuing(before), before) == Changes()
    assert (study.holds_out, study.continuing(before).holds_out) == (True, False)
    assert study.continuing(None).repeats == 3


def test_a_trial_without_its_first_record_is_named(tmp_path):
    """A reader that left it out in silence would print other errors than the study has."""
    golden = json.loads((Path(__file__).parents[2] / "support" / "records.json").read_text())
    store = Store(tmp_path)
    for path, text in golden.items():
        store.create(path, text.encode())
    whole = Ledger(store).entries()
    trial = next(entry.id for entry in whole if entry.outcome is not None)
    (tmp_path / "trials" / trial / "trial.json").unlink()
    sentence = rf"trial {trial[:10]} is left out: .*/{trial}/trial\.json is missing; run the study again"
    with pytest.warns(UserWarning, match=sentence):
        assert [entry.id for entry in Ledger(store).entries()] == [each.id for each in whole if each.id != trial]
    (tmp_path / "trials" / "strays").mkdir()
    (tmp_path / "trials" / "strays" / "notes.txt").write_text("mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ledger(store, strict=True).entries()


def test_dead_irreps_of_earlier_records_have_todays_words(tmp_path):
    golden = json.loads((Path(__file__).parents[2] / "support" / "records.json").read_text())
    store = Store(tmp_path)
    for path, text in golden.items():
        store.create(path, text.encode())
    trial = next(entry.id for entry in Ledger(store).entries())
    dead = "0o in layer 1 is made by nothing; 1e in layer 2 is read by nothing"
    told = {"arm": "dead", "factors": {}, "match": "none", "dead": dead}
    store.create(f"trials/{trial}/arms/0123456789.json", seal(told))
    rows = {row["arm"]: row["dead"] for row in Ledger(store).table().to_pylist()}
    assert rows.pop("dead") == "0o in layer 1 is never produced; 1e in layer 2 is never read"
    assert {*rows.values()} == {None}
