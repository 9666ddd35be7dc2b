"""Records that are deleted or exchanged by hand: the next run restores them with the same numbers, or names them."""

import shutil
import warnings
from pathlib import Path

import polars as pl
import pytest

import tesseral
from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError
from tests.support.water_study import search_of_rates, water_study

SEARCH = search_of_rates(3)


def run_whole(folder: Path, reference: Path, text: str) -> Path:
    (folder / "reference").mkdir()
    shutil.copy(reference, folder / "reference")
    (folder / "small.toml").write_text(text)
    tesseral.run(folder / "small.toml", folder, "inline")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_reference) -> Path:
    """A storage with a study of two trials."""
    text = water_study("small", "network.hidden.lmax = [0, 1]", blocks=1, epochs=2)
    return run_whole(tmp_path_factory.mktemp("finished"), tiny_reference, text)


@pytest.fixture(scope="module")
def searched(tmp_path_factory, tiny_reference) -> Path:
    """A storage with a study that searched: three proposals in one arm, with a rung after the first of three epochs."""
    text = water_study("small", "network.hidden.lmax = [1]", blocks=1, epochs=3) + SEARCH
    return run_whole(tmp_path_factory.mktemp("searched"), tiny_reference, text)


def copy(storage: Path, folder: Path) -> Path:
    shutil.copytree(storage, folder / "storage")
    return folder / "storage"


def numbers(storage: Path, name: str = "small") -> list[pl.DataFrame]:
    tables = tesseral.open_study(storage, name)
    metrics = tables.trials.select("trial", "stage", "steps", pl.col("^metric\\..*$"), pl.col("state")).sort("trial")
    return [
        metrics,
        *(frame.collect().sort(frame.collect_schema().names()) for frame in (tables.curves, tables.traces)),
    ]


def delete(storage: Path, pattern: str) -> None:
    """The first of what matches, files or a folder."""
    found = sorted((storage / "small").glob(pattern))
    assert found, pattern
    if found[0].is_dir():
        shutil.rmtree(found[0])
    else:
        found[0].unlink()


@pytest.mark.parametrize(
    "patterns",
    [
        ["trials/*/outcome.json"],
        ["trials/*/outcome.json", "curves/*/*.parquet"],
        ["trials/*/outcome.json", "trials/*/checkpoint/*"],
        ["trials/*/outcome.json", "trials/*/attempts"],
        ["trials/*/attempts"],
        ["trials/*/trial.json"],
        ["trials/*"],
        ["study.toml"],
        ["lease"],
        ["trials.parquet"],
    ],
    ids=" ".join,
)
def test_what_is_deleted_is_restored(finished, tmp_path, patterns):
    storage = copy(finished, tmp_path)
    for pattern in patterns:
        delete(storage, pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is passed over is told
        assert tesseral.run(storage / "small.toml", storage, "inline").states == {State.COMPLETE: 2}
    for ours, whole in zip(numbers(storage), numbers(finished), strict=True):
        assert ours.equals(whole)


@pytest.mark.parametrize("pattern", ["search/*/best.json", "trials/*/decisions", "trials/*/outcome.json", "lease"])
def test_a_search_is_restored(searched, tmp_path, pattern):
    storage = copy(searched, tmp_path)
    delete(storage, pattern)
    tesseral.run(storage / "small.toml", storage, "inline")
    for ours, whole in zip(numbers(storage), numbers(searched), strict=True):
        assert ours.equals(whole)


@pytest.mark.parametrize("pattern", ["search/*/0.json", "search/*/1.json", "search/*/2.json", "trials/*/rungs/1.json"])
def test_what_cannot_be_restored_is_named(searched, tmp_path, pattern):
    storage = copy(searched, tmp_path)
    missing = sorted((storage / "small").glob(pattern))[0]
    missing.unlink()
    with pytest.raises(RecordError, match=rf"{missing.parent.name}/{missing.name} is missing, although .* restore it"):
        tesseral.run(storage / "small.toml", storage, "inline")


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"{")], ids=["gone", "torn"]
)
def test_what_is_advised_about_a_proposal_works(searched, tmp_path, damage):
    storage = copy(searched, tmp_path)
    proposal = sorted((storage / "small").glob("search/*/1.json"))[0]
    whole = proposal.read_bytes()
    damage(proposal)
    with pytest.raises(
        RecordError, match=r"/1\.json is (missing|damaged).*; restore it, or give the study another name$"
    ):
        tesseral.run(storage / "small.toml", storage, "inline")
    text = (storage / "small.toml").read_text()
    (storage / "other.toml").write_text(text.replace('name = "small"', 'name = "other"'))
    tesseral.run(storage / "other.toml", storage, "inline")
    for ours, anew in zip(numbers(searched), numbers(storage, "other"), strict=True):
        assert ours.equals(anew)
    proposal.unlink(missing_ok=True)
    proposal.write_bytes(next(storage.glob("other/search/*/1.json")).read_bytes())
    with pytest.raises(RecordError, match=r"/1\.json is damaged: it is that of study other; restore it, or give"):
        tesseral.run(storage / "small.toml", storage, "inline")
    proposal.write_bytes(whole)
    tesseral.run(storage / "small.toml", storage, "inline")
    for ours, restored in zip(numbers(searched), numbers(storage), strict=True):
        assert ours.equals(restored)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("trials/*/rungs/1.json", r"rungs/1\.json is damaged: it is that of trial \w{10}; remove it"),
        (
            "search/*/[01].json",
            r"0\.json is damaged: it is that of number 1; restore it, or give the study another name",
        ),
    ],
)
def test_what_is_anothers_is_named(searched, tmp_path, pattern, sentence):
    storage = copy(searched, tmp_path)
    one, other = sorted((storage / "small").glob(pattern))[:2]
    one.unlink()
    one.write_bytes(other.read_bytes())
    with pytest.raises(RecordError, match=sentence):
        tesseral.run(storage / "small.toml", storage, "inline")


def test_an_attempt_of_another_trial_is_named_and_trained_again(finished, tmp_path):
    storage = copy(finished, tmp_path)
    one, other = sorted((storage / "small").glob("trials/*/attempts/1.json"))
    one.unlink()
    one.write_bytes(other.read_bytes())
    (one.parents[1] / "outcome.json").unlink()
    with pytest.warns(UserWarning, match=r"attempts/1\.json is damaged: it is that of trial \w{10}; remove it"):
        assert tesseral.run(storage / "small.toml", storage, "inline").states == {State.COMPLETE: 2}
    for ours, whole in zip(numbers(storage), numbers(finished), strict=True):
        assert ours.equals(whole)
