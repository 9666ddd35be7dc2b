"""Recipes and the sentences that mistakes in a TOML file bring."""

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import pytest

from tesseral.study.errors import StudyFileError, numbered
from tesseral.study.parsing.section import Range, Section
from tesseral.study.parsing.validation import read_toml, validate
from tesseral.study.recipe.recipe import Recipe, read_recipe
from tests.support.mistakes import DISPLACED, HELIUM, RECIPE, RECIPE_MISTAKES, TABLE_MISTAKES, WATERS, XYZ


@pytest.mark.parametrize(("name", "counts"), [("water", {2: 48, 1: 8}), ("water_tiny", {1: 10, 2: 4})])
def test_the_examples_are_read(name, counts):
    with resources.as_file(resources.files("tesseral.study.examples") / f"{name}.toml") as file:
        recipe = read_recipe(file)
    assert recipe.reference.name == name
    assert {table.molecules: table.count for table in recipe.structures} == counts
    assert recipe.method.auxiliary_basis == "def2-universal-jfit"


def test_the_example_of_molecules_is_read():
    with resources.as_file(resources.files("tesseral.study.examples") / "molecules.toml") as file:
        recipe = read_recipe(file)
    assert [(table.kind, table.ids) for table in recipe.structures] == [
        ("displacements", "methanol"),
        ("displacements", "ammonia"),
        ("inline", "hydroxide"),
        ("inline", "hydroxyl"),
    ]
    assert recipe.method.quantities == ("forces", "polarizability", "charges")


def changed(path: str, value: object) -> dict:
    """RECIPE with one key set."""
    tree = {
        "reference": dict(RECIPE["reference"]),
        "structures": [dict(RECIPE["structures"][0])],
        "method": dict(RECIPE["method"]),
    }
    *parents, last = path.split(".")
    place = tree
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return tree


@pytest.mark.parametrize(("path", "value", "sentence"), RECIPE_MISTAKES)
def test_a_mistake_is_one_sentence_under_its_path(path, value, sentence):
    with pytest.raises(StudyFileError) as error:
        validate(Recipe, changed(path, value), "my.toml")
    prefix = "reference" if path == "reference.name" else path
    assert str(error.value).startswith(f"my.toml: {numbered(prefix)}: {sentence}")
    assert error.value.path == prefix


def test_a_missing_key_is_named_with_the_valid_ones():
    tree = changed("reference.name", "water")
    del tree["structures"][0]["count"]
    with pytest.raises(StudyFileError) as error:
        validate(Recipe, tree)
    assert str(error.value) == (
        "structures (entry 1).count: expected this key, it is missing; valid keys are kind, molecules, count, seed"
    )


def test_a_misspelt_key_is_reported_before_the_one_it_leaves_missing():
    tree = changed("structures.0.conut", 3)
    del tree["structures"][0]["count"]
    with pytest.raises(StudyFileError, match=r"unknown key 'conut'; did you mean 'count'\?"):
        validate(Recipe, tree)


@dataclass(frozen=True, kw_only=True)
class Levels(Section):
    values: tuple[int | Literal["many"] | Annotated[float, Range(gt=0, lt=1)], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Nested(Section):
    levels: dict[str, Levels] = field(default_factory=dict)
    rate: Annotated[float, Range(gt=0)] | None = None


def test_unions_and_tables_of_tables_keep_the_users_path():
    tree = {"levels": {"network.layers": {"values": [1, "many", 0.5]}}}
    assert validate(Nested, tree).levels["network.layers"].values == (1, "many", 0.5)
    tree["levels"]["network.layers"]["values"][1] = "mny"
    with pytest.raises(StudyFileError) as error:
        validate(Nested, tree)
    assert error.value.path == "levels.network.layers.values.1"
    assert error.value.message == "expected an integer or 'many' or a number, got \"mny\"; did you mean 'many'?"
    with pytest.raises(StudyFileError, match=r"unknown key 'value'; did you mean 'values'\?"):
        validate(Nested, {"levels": {"a": {"value": [1]}}})


@pytest.mark.parametrize("text", ["rate = inf", "rate = nan", "rate = -inf"])
def test_numbers_are_finite(text, tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(text)
    with pytest.raises(StudyFileError, match="expected a"):
        validate(Nested, read_toml(file))


def test_integers_are_numbers_and_dates_are_not():
    assert validate(Nested, {"rate": 1}).rate == 1.0
    with pytest.raises(StudyFileError, match="expected a number, got"):
        validate(Nested, {"rate": "2026-01-01"})


def test_files_that_are_no_toml_are_refused(tmp_path):
    with pytest.raises(StudyFileError, match=r"absent.toml: expected a TOML file, but it cannot be read: No such file"):
        read_toml(tmp_path / "absent.toml")
    file = tmp_path / "bad.toml"
    file.write_text("a = \n")
    with pytest.raises(StudyFileError, match=r"line 1, column .* text needs quotes"):
        read_recipe(file)
    file.write_bytes(b"a = '\xff'")
    with pytest.raises(StudyFileError, match="it is not UTF-8 text"):
        read_toml(file)


def test_two_tables_of_equal_clusters_are_refused(tmp_path):
    file = tmp_path / "twice.toml"
    table = '[[structures]]\nkind = "water_clusters"\nmolecules = 2\ncount = 1\n'
    file.write_text(f'{table}seed = 1\n{table}seed = 2\n[reference]\nname = "twice"\n')
    with pytest.raises(StudyFileError, match=r"raise the count of structures \(entry 1\) instead") as error:
        read_recipe(file)
    assert error.value.path == "structures.1.molecules"


def read(folder: Path, *tables: str) -> Recipe:
    file = folder / "recipe.toml"
    file.write_text('[reference]\nname = "a"\n' + "".join(f"[[structures]]\n{table}\n" for table in tables))
    return read_recipe(file)


def test_tables_of_every_kind_are_read(tmp_path):
    clusters, xyz, helium, hydrogen = read(tmp_path, WATERS, XYZ, HELIUM, DISPLACED).structures
    assert (clusters.ids, xyz.ids, helium.ids, hydrogen.ids) == ("dimer", "b", "he", "h2")
    assert xyz.file == str(tmp_path / "a" / "b.xyz.gz")
    assert (xyz.charge, xyz.spin, xyz.first, xyz.every, xyz.count) == (None, 0, 0, 1, None)
    assert (helium.atomic_numbers, helium.positions) == ((2,), ((0.0, 0.0, 0.0),))
    assert (hydrogen.atomic_numbers, hydrogen.mode, hydrogen.temperature) == ((1, 1), "thermal", 300.0)
    assert (hydrogen.method, hydrogen.basis, hydrogen.optimise) == ("HF", "def2-SVP", True)
    (of_a_file,) = read(tmp_path, 'kind = "displacements"\nname = "h2"\nfile = "/x.xyz"\ncount = 1').structures
    assert (of_a_file.file, of_a_file.elements) == ("/x.xyz", ())


@pytest.mark.parametrize(("tables", "path", "sentence"), TABLE_MISTAKES)
def test_a_table_that_makes_no_sense_is_refused_by_its_path(tables, path, sentence, tmp_path):
    with pytest.raises(StudyFileError) as error:
        read(tmp_path, *tables)
    assert error.value.path == path
    assert sentence in error.value.message


def test_ids_that_only_look_alike_are_allowed(tmp_path):
    assert len(read(tmp_path, WATERS, HELIUM.replace('"he"', '"dimer-1"'), XYZ + '\nname = "dimers"').structures) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[study]\n", "expected a recipe, got a study file; `tesseral run .*other.toml` runs it"),
        (
            "[[labels]]\n",
            "got a mapping; `tesseral reference import .*other.toml` imports its labels",
        ),
    ],
)
def test_another_kind_of_file_is_named_with_its_command(tmp_path, text, sentence):
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(StudyFileError, match=sentence):
        read_recipe(tmp_path / "other.toml")


WATER_IN_BASIS = """
[reference]
name = "one"
[[structures]]
kind = "water_clusters"
molecules = 1
count = 1
[method]
basis = "{}"
"""


@pytest.mark.parametrize("spelling", ["6-31G(2df,p)", "6-31g(2DF,P)", "631g(2df,p)", "6-31G (2df, p)"])
def test_the_basis_that_is_not_qm9s_is_named(tmp_path, spelling):
    file = tmp_path / "molecules.toml"
    file.write_text(WATER_IN_BASIS.format(spelling))
    with pytest.warns(
        UserWarning, match=r"is not that of QM9, because PySCF has other d exponents.*'6-31G\(2df,p\)-QM9'"
    ):
        read_recipe(file)


@pytest.mark.parametrize("basis", ["6-31G(2df,p)-QM9", "6-31G(2df,2p)", "def2-SVP"])
def test_other_bases_bring_no_warning(tmp_path, recwarn, basis):
    file = tmp_path / "molecules.toml"
    file.write_text(WATER_IN_BASIS.format(basis))
    read_recipe(file)
    assert not recwarn
