"""What a job is made of: the study file, its recipe, the user's own modules, and never the records beside them."""

import shutil
from pathlib import Path

import pytest

from tesseral.cluster.submission import shipment
from tesseral.cluster.submission.shipment import is_recipe, ship
from tesseral.study.errors import StudyFileError
from tests.support.water_study import EXAMPLES, water_study


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def owned(folder: Path, recipe: str = "water_tiny.toml") -> Path:
    """A study with a network of the user's own, its recipe, and records beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = water_study("owned", 'network.define = ["nets_shipped:Net"]', hidden="{ mul = [4, 2], lmax = 1 }")
    (folder / "owned.toml").write_text(text.replace("[data]", f'[data]\nrecipe = "{recipe}"'))
    shutil.copy(EXAMPLES / "water_tiny.toml", folder / recipe)
    (folder / "nets_shipped.py").write_text("import layers_shipped\n")
    (folder / "layers_shipped.py").write_text("")
    (folder / "unrelated.py").write_text("")
    (folder / "runs" / "owned" / "trials").mkdir(parents=True, exist_ok=True)
    (folder / "runs" / "owned" / "study.toml").write_text("")
    return folder / "owned.toml"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_study_ships_what_it_names_and_nothing_else(tmp_path):
    shipped = ship(owned(tmp_path / "work"))
    assert (shipped.name, shipped.file, shipped.is_recipe) == ("owned", "owned.toml", False)
    assert files(shipped.folder) == ["layers_shipped.py", "nets_shipped.py", "owned.toml", "water_tiny.toml"]


def test_a_recipe_in_another_folder_keeps_its_place(tmp_path):
    shipped = ship(owned(tmp_path / "deep" / "work", recipe="../water.toml"))
    assert shipped.file == "work/owned.toml"
    assert files(shipped.folder) == [
        "water.toml",
        "work/layers_shipped.py",
        "work/nets_shipped.py",
        "work/owned.toml",
    ]


def test_a_recipe_ships_the_geometries_that_it_reads(tmp_path):
    (tmp_path / "geometries").mkdir()
    (tmp_path / "geometries" / "water.xyz").write_text("1\n\nO 0 0 0\n")
    recipe = tmp_path / "own.toml"
    recipe.write_text('[reference]\nname = "own"\n\n[[structures]]\nkind = "xyz"\nfile = "geometries/water.xyz"\n')
    shipped = ship(recipe)
    assert (shipped.name, shipped.is_recipe) == ("own", True)
    assert files(shipped.folder) == ["geometries/water.xyz", "own.toml"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_studies_and_recipes_are_told_apart(path):
    if not path.stem.startswith("mapping"):
        assert is_recipe(path) == ("[study]" not in path.read_text())


def test_the_content_names_the_folder_and_follows_the_code(tmp_path, monkeypatch):
    """Records that change in between leave it as it is: a second command finds the job of the first."""
    study = owned(tmp_path / "work")
    first = ship(study)
    before = first.content
    (study.parent / "runs" / "owned" / "trials" / "new.json").write_text("{}")
    assert (ship(study).folder, ship(study).content) == (first.folder, first.content)
    (study.parent / "layers_shipped.py").write_text("WIDTH = 3\n")
    assert ship(study).folder != first.folder
    monkeypatch.setattr(shipment, "code_hash", lambda: "other")
    assert first.content != before


def test_files_that_are_missing_are_named(tmp_path):
    study = owned(tmp_path / "work")
    (study.parent / "water_tiny.toml").unlink()
    with pytest.raises(StudyFileError, match=r"owned\.toml: data\.recipe: expected a recipe, found none at"):
        ship(study)
    (study.parent / "nets_shipped.py").unlink()
    shutil.copy(EXAMPLES / "water_tiny.toml", study.parent)
    with pytest.raises(StudyFileError, match=r"owned\.toml: network\.define: expected a module"):
        ship(study)
