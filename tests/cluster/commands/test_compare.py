"""`tesseral compare`: arms of two studies on one storage, as a table and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from tesseral.cluster.commands.app import app
from tesseral.study.errors import DataError
from tests.support.trained_study import train_study


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    for name in ("one", "two"):
        train_study(folder, "dipole", name)
    return folder


def compare(storage, *words: str):
    return CliRunner().invoke(app, ["compare", *words, "--storage", str(storage)])


def test_the_same_trials_in_two_studies_do_not_differ(storage):
    done = compare(storage, "one", "two", "--json")
    assert done.exit_code == 0, done.output
    arms = {arm["label"]: arm for arm in json.loads(done.stdout)}
    assert list(arms) == ["one: lmax=0", "one: lmax=1", "two: lmax=0", "two: lmax=1"]
    assert arms["two: lmax=0"]["same"]
    assert arms["two: lmax=0"]["comparison"]["change"]["value"] == 0
    assert arms["two: lmax=1"]["comparison"]["change"] == arms["one: lmax=1"]["comparison"]["change"]
    printed = compare(storage, "one", "two", "--baseline", "two: lmax=1").stdout
    assert "The same trials as the baseline's: one: lmax=1." in printed


def test_one_study_is_not_several(storage):
    with pytest.raises(DataError, match="expected two or more different studies, got one, one"):
        raise compare(storage, "one", "one").exception
