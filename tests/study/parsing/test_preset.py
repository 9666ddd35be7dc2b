"""Presets: versions of a study in its own file, chosen by name, and frozen with the study."""

import json
from pathlib import Path

import pytest

from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.study.changes import Changes, changes
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.preset import choose
from tesseral.study.records.ledger import Ledger, freeze, frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.command_line import assert_refused, tesseral
from tests.support.confirm_trials import confirm_trials
from tests.support.water_study import water_study

PRESETS = """
[presets.tiny]
replication.blocks = 2
training.epochs = 2

[presets.other.factors]
network.hidden.orders = [[0], [0, 2]]
"""
TEXT = water_study("wide") + PRESETS


def preset(name: str | None, text: str = TEXT) -> Study:
    return Study.parse(choose(text, name, "wide.toml"), "wide.toml")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "wide.toml"
    path.write_text(TEXT)
    return path


def test_a_preset_sets_keys_and_leaves_the_others():
    study, whole = preset("tiny"), preset(None)
    assert (whole.name, whole.file.replication.blocks) == ("wide", 3)
    assert (study.name, study.file.replication.blocks, study.file.replication.replicates) == ("wide-tiny", 2, 1)
    assert [arm.label for arm in study.arms] == [arm.label for arm in whole.arms]
    for small, large in zip(study.arms, whole.arms, strict=True):
        assert (small.configuration.training.epochs, large.configuration.training.epochs) == (2, 6)
        assert small.configuration.training.batch_size == large.configuration.training.batch_size == 4
        assert small.configuration.network == large.configuration.network


def test_the_whole_study_is_the_one_without_presets():
    assert changes(preset(None), Study.parse(water_study("wide"), "")) == Changes()


def test_factors_are_replaced_whole():
    assert [arm.label for arm in preset("other").arms] == ["orders=[0]", "orders=[0,2]"]
    arms = TEXT + "\n[[presets.listed.arms]]\nnetwork.hidden.lmax = 3\n"
    assert [arm.label for arm in preset("listed", arms).arms] == ["lmax=3"]
    back = arms.replace("[factors]\nnetwork.hidden.lmax = [0, 1]", "[[arms]]\nnetwork.hidden.lmax = 1")
    assert [arm.label for arm in preset("other", back).arms] == ["orders=[0]", "orders=[0,2]"]


def test_lists_are_replaced():
    text = TEXT.replace("[network]", "[design]\nwhere = ['network.hidden.lmax < 1']\n[network]")
    study = preset("all", text + "\n[presets.all]\ndesign.where = []\nnetwork.hidden.mul = [3]\n")
    assert [arm.configuration.network.hidden.irreps for arm in study.arms] == ["3x0e+3x0o", "3x0e+3x0o+3x1e+3x1o"]


def test_a_preset_is_in_no_trials_id():
    """Two ways to one network are one trial, which the studies share."""
    hashes = {"reference/water_tiny.parquet": "abc"}
    small = [planned.trial.id for planned in confirm_trials(preset("tiny"), hashes, 1)]
    written = water_study("other", blocks=2, epochs=2)
    assert small == [planned.trial.id for planned in confirm_trials(Study.parse(written, ""), hashes, 1)]
    assert all(path.split(".")[0] not in ("preset", "presets") for path in preset("tiny").arms[0].factors)


def test_the_text_says_which_preset_it_is():
    text = choose(TEXT, "tiny", "")
    assert text == f'preset = "tiny"\n{TEXT}'
    assert choose(text, "tiny", "") == choose(text, None, "") == text, "it says so already"
    assert Study.parse(text, "").file.preset == "tiny"
    with pytest.raises(StudyFileError, match="preset: expected the preset that the file chooses, 'tiny', got 'other'"):
        choose(text, "other", "")


@pytest.mark.parametrize(
    ("old", "new", "chosen", "path", "words"),
    [
        ("", "", "smal", "preset", ["one of tiny, other", "'smal'"]),
        (PRESETS, "", "tiny", "preset", ["no [presets]", "'tiny'"]),
        ("[presets.tiny]", "[preset.tiny]", None, "preset", ["expected other"]),
        ("training.epochs = 2", "training.epoch = 2", None, "presets.tiny.training.epoch", ["did you mean 'epochs'"]),
        ("training.epochs = 2", "training.epochs = 0", "tiny", "presets.tiny.training.epochs", ["at least 1", "got 0"]),
        ("training.epochs = 2", "trainings.a = 2", None, "presets.tiny.trainings", ["did you mean 'training'"]),
        ("training.epochs = 2", "training = 2", None, "presets.tiny.training", ["a table", "2"]),
        ("training.epochs = 2", 'preset = "other"', None, "presets.tiny.preset", ["tables of the study"]),
        ("training.epochs = 2", "presets.a.b = 1", None, "presets.tiny.presets", ["tables of the study"]),
        ("[presets.tiny]", "[presets]\nsmall = 3\n[presets.tiny]", None, "presets.small", ["expected a table", "3"]),
        ("[0, 2]", "[0, 22]", "other", "presets.other.factors.network.hidden.orders", ["at most 10", "22"]),
        ("[0, 2]", "[0]", "other", "presets.other.factors.network.hidden.orders[1]", ["twice"]),
        ("training.epochs = 2", "study.baseline = 'x'", "tiny", "presets.tiny.study.baseline", ["lmax=0", "'x'"]),
        ("train = 8", "train = 0", "tiny", "data.train", ["at least 1"]),
        ('[presets.tiny]', '[presets."ti ny"]', "ti ny", 'presets."ti ny"', ["letters, digits", "'ti ny'"]),
        ('[presets.tiny]', '[presets."ti ny"]', "other", 'presets."ti ny"', ["letters, digits", "'ti ny'"]),
        ('[presets.tiny]', '[presets."a.b"]\ntraining.epochs = 0\n[presets.tiny]', "other",
         'presets."a.b".training.epochs', ["at least 1", "got 0"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(old, new, chosen, path, words):
    assert old in TEXT
    with pytest.raises(StudyFileError) as caught:
        preset(chosen, TEXT.replace(old, new, 1))
    assert caught.value.path == path
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).startswith("wide.toml: ")
    assert "\n" not in str(caught.value)


def test_a_frozen_preset_stays_what_it_was(storage, file):
    """It stands in the frozen text, so whoever reads the records needs no option."""
    study = Study.load(file, "tiny")
    store = Store(storage).child(study.name)
    assert freeze(store, study) is None
    restored = frozen(store)
    assert restored is not None
    assert (restored.name, restored.file.preset, changes(restored, study)) == ("wide-tiny", "tiny", Changes())
    file.write_text(TEXT.replace("training.epochs = 2", "training.epochs = 3"))
    assert "training.epochs is 3 and was 2" in changes(Study.load(file, "tiny"), restored).refused[0]


def test_a_preset_is_run_and_resumed_and_trials_of_the_same_networks_are_copied(storage, file):
    def run(study: Study) -> dict[str, int]:
        return dict(run_study(prepare(study, str(storage)), InlineExecutor(), Silent()).reused)

    study = Study.load(file, "tiny")
    assert run(study) == {}
    entries = Ledger(Store(storage).child("wide-tiny")).entries()
    assert {entry.plan["study"] for entry in entries} == {"wide-tiny"}
    assert len(entries) == 4
    begun = {entry.id: entry.begins for entry in entries}
    assert run(study) == {}
    assert {entry.id: entry.begins for entry in Ledger(Store(storage).child("wide-tiny")).entries()} == begun
    assert run(Study.parse(water_study("same", blocks=2, epochs=2), "")) == {"wide-tiny": 4}


def test_every_command_takes_a_preset(storage, file):
    freeze(Store(storage).child("wide-tiny"), Study.load(file, "tiny"))
    planned = json.loads(tesseral("plan", file, "--preset", "tiny", "--storage", storage, "--json").stdout)
    assert (planned["study"], planned["trials"]) == ("wide-tiny", 4)
    for named in (["wide-tiny"], ["wide", "--preset", "tiny"], [file, "--preset", "tiny"]):
        assert json.loads(tesseral("status", *named, "--storage", storage, "--json").stdout)["study"] == "wide-tiny"
    before = sorted(storage.rglob("*"))
    for command in ("plan", "run", "status", "report"):
        done = tesseral(command, file, "--preset", "smal", "--storage", storage)
        assert_refused(done, "wide.toml", "expected one of tiny, other, got 'smal'")
    assert_refused(tesseral("export", file, "3f", "--preset", "smal", "--structure", "a", "--cube", "a.cube"), "'smal'")
    assert sorted(storage.rglob("*")) == before
