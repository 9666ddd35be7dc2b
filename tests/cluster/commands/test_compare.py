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
        train_study(folder, "dipole", name, metric="error")
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


def test_errors_are_in_the_units_that_are_asked_for(storage):
    """One e bohr is 2.5417 debye; changes in percent stay. `watch` shows the lowest error of each arm so too."""
    recorded, debye = (
        json.loads(compare(storage, "one", "two", "--json", *units).stdout) for units in ((), ("--units", "debye"))
    )
    for one, other in zip(recorded, debye, strict=True):
        assert other["error"]["error"]["value"] == pytest.approx(2.541746 * one["error"]["error"]["value"], rel=1e-6)
        assert (one["target"]["unit"], other["target"]["unit"]) == ("e bohr", "debye")
    assert debye[1]["comparison"]["change"]["value"] == pytest.approx(recorded[1]["comparison"]["change"]["value"])
    assert "error, debye" in compare(storage, "one", "two", "--units", "debye").stdout
    watched = [
        json.loads(CliRunner().invoke(app, ["watch", "one", "--json", *units, "--storage", str(storage)]).stdout)[
            "arms"
        ]
        for units in ((), ("--units", "debye"))
    ]
    for one, other in zip(*watched, strict=True):
        assert other["best"] == pytest.approx(2.541746 * one["best"], rel=1e-6)
        assert (one["unit"], other["unit"]) == ("e bohr", "debye")
    shown = CliRunner().invoke(app, ["watch", "one", "--once", "--units", "debye", "--storage", str(storage)]).stdout
    assert "lowest error, debye" in shown


def test_errors_of_different_quantities_have_their_units_beside_them(storage):
    train_study(storage, "polarizability", "other", metric="error")
    lines = compare(storage, "one", "other").stdout.splitlines()
    assert lines[0].split()[:2] == ["arm", "error"]
    (dipole,) = (line for line in lines if line.startswith("one: lmax=1"))
    (other,) = (line for line in lines if line.startswith("other: lmax=1"))
    assert " e bohr [" in dipole or " e bohr " in dipole
    assert " bohr³" in other


def test_one_study_is_not_several(storage):
    with pytest.raises(DataError, match="expected two or more different studies, got one, one"):
        raise compare(storage, "one", "one").exception
