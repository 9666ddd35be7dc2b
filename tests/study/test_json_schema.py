"""JSON Schemas: they admit what tesseral admits, and refuse every mistake of shape that the tests know."""

import tomllib
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tesseral.study.design.search_space import FIXED
from tesseral.study.errors import StudyFileError
from tesseral.study.json_schema import json_schema
from tesseral.study.parsing.preset import apply_preset
from tesseral.study.study import Study
from tests.study.design.test_factorial import FACTORS, HEAD
from tests.study.recipe.test_recipe import changed
from tests.support.command_line import tesseral
from tests.support.mappings import label
from tests.support.mistakes import (
    MAPPING_MISTAKES,
    RECIPE_MISTAKES,
    SPACE_MISTAKES,
    STUDY,
    STUDY_MISTAKES,
    TABLE_MISTAKES,
)

EXAMPLES = resources.files("tesseral.study.examples")
SCHEMAS = {kind: Draft202012Validator(json_schema(kind)) for kind in ("study", "recipe", "mapping")}

BEYOND: dict[str, str] = {
    'name = "reference"': "names that are folders of the storage",
    'metric = "loss2"': "metrics that the targets of all arms share",
    'metric = "block_error"': "metrics that the targets of all arms share",
    'baseline = "lmax=9"': "labels of arms",
    "[0, 1, 1]": "a level that is written twice: 1 and 1.0 are two levels here, and one value in JSON Schema",
    'network.hidden.irreps = ["4x0e", "4y0e"]': "the notation of irreps",
    "hidden.irreps = '4x0e'": "a key that excludes another table's",
}
"""What replaces the text in a mistake of `STUDY_MISTAKES` → what a schema cannot know of it."""

SPACE_BEYOND: dict[str, str] = {
    "training.learning_rate = { low = 0.2, high = 0.1 }": "the order of two values",
    "network.layers = { low = 1, high = 9, log = true, step = 2 }": "a key that excludes a value of another",
    "network.layers = { low = 1, high = 4, step = 2 }": "arithmetic between keys",
    "network.layers = { low = 1, high = 4, step = 0 }": "the rules of a step, checked with those of the range",
    "network.layers = [1, 2, 1]": "a choice that is written twice",
    "training.learning_rate = [inf]": "infinity, which JSON has not",
    'network.hidden.irreps = ["4x0e"]': "in what arms differ",
    "network = [{ hidden = { lmax = 1 } }]": "in what arms differ",
    'network = [{ define = "mine:build" }]': "a setting that cannot be searched, inside a table of choices",
    'network.layers = { choices = [1], when = "network.layer > 1" }': "the grammar and names of conditions",
    'network.layers = { choices = [1], when = "network.layers >" }': "the grammar and names of conditions",
    'training.batch_size = { choices = [1], when = "loss.name > 1" }': "the grammar and names of conditions",
    'training.batch_size = { choices = [1], when = "network.layers" }': "the grammar and names of conditions",
    '"network.layers" = [1]\nnetwork.layers = [2]': "one setting under two keys",
}
"""Text of `[search.space]` in a mistake of `SPACE_MISTAKES` → what a schema cannot know of it."""

TABLE_BEYOND: dict[str, str] = {
    "make": "ids that two tables share",
    "got 1 elements and 2 positions": "lists of equal length",
    "expected elements and positions of at least one atom": "keys that belong together",
    "expected a finite number": "NaN, which JSON has not",
    "either elements and positions or a file": "keys that exclude each other",
    "or a file, got neither": "keys that exclude each other",
}
"""Words in the sentence of a mistake of `TABLE_MISTAKES` → what a schema cannot know of it."""

MAPPING_BEYOND: dict[str, str] = {
    "valid are e bohr": "the units of a column",
    "expected one of energy": "names of columns that no label can fill",
    "not nearly one of them": "names that are nearly a column's",
    "did you mean 'forces'": "names that are nearly a column's",
    "expected irreps": "the irreps of a column, or of a Cartesian tensor, and their notation",
    "got '4e'": "the irreps of a Cartesian tensor",
    "each once": "the irreps of a Cartesian tensor",
    "for each atom": "what a column holds a value for",
    "expected origin": "keys that depend on the column",
    "octupole only": "keys that depend on the column",
    "expected convention": "keys that depend on the column",
}
"""Words in the sentence of a mistake of `MAPPING_MISTAKES` → what a schema cannot know of it."""


def kind_of(tree: dict[str, Any]) -> str:
    return "study" if "study" in tree else "mapping" if "labels" in tree else "recipe"


def examples() -> list[str]:
    return sorted(entry.name for entry in EXAMPLES.iterdir() if entry.name.endswith(".toml"))


def admits(kind: str, tree: dict[str, Any]) -> bool:
    return SCHEMAS[kind].is_valid(tree)


@pytest.mark.parametrize("kind", ["study", "recipe", "mapping"])
def test_the_shipped_schema_is_what_the_command_prints(kind):
    """Mended by `tesseral schema KIND > study/examples/KIND.schema.json`."""
    Draft202012Validator.check_schema(json_schema(kind))
    assert tesseral("schema", kind).stdout == (EXAMPLES / f"{kind}.schema.json").read_text()


def test_the_command_prints_the_study_files_schema_unless_told_otherwise():
    assert tesseral("schema").stdout == (EXAMPLES / "study.schema.json").read_text()


@pytest.mark.parametrize("name", examples())
def test_every_example_names_its_schema_and_fits_it(name):
    text = (EXAMPLES / name).read_text()
    tree = tomllib.loads(text)
    kind = kind_of(tree)
    assert text.startswith(f"#:schema {kind}.schema.json\n")
    for chosen in (None, *tree.get("presets", {})):
        whole = tree if chosen is None else apply_preset(tree | {"preset": chosen}, name)
        SCHEMAS[kind].validate(whole)


def test_every_key_is_described():
    for validator in SCHEMAS.values():
        schema = validator.schema
        for name, table in {"": schema, **schema["$defs"]}.items():
            for key, value in table.get("properties", {}).items():
                assert "description" in value or "$ref" in value, f"{name}.{key}"
            assert table["description"], name


@pytest.mark.parametrize(("factor", "labels"), FACTORS, ids=[factor.split(" ")[0] for factor, _ in FACTORS])
def test_any_setting_may_be_a_factor(factor, labels):
    head = HEAD.replace("hidden.lmax = 1\n", "") if "orders" in factor else HEAD
    SCHEMAS["study"].validate(tomllib.loads(f"{head}\n[factors]\n{factor}\n"))


@pytest.mark.parametrize(
    "text",
    [
        '"network.hidden.lmax" = 0',
        'network."hidden.lmax" = 0',
        'network.hidden = { lmax = 0, mul = [4] }\n"match.by" = "flops"',
    ],
)
def test_arms_name_settings_by_path_or_table(text):
    tree = tomllib.loads(STUDY[: STUDY.index("[factors]")] + STUDY[STUDY.index("[replication]") :])
    good = tree | {"arms": [tomllib.loads(text)]}
    SCHEMAS["study"].validate(good)
    assert not admits("study", tree | {"arms": [tomllib.loads(text.replace("lmax", "l_max"))]})
    assert not admits(
        "study",
        tree | {"arms": [tomllib.loads(text.replace("lmax = 0", 'lmax = "0"').replace('lmax" = 0', 'lmax" = "0"'))]},
    )


def test_presets_hold_tables_of_the_study_in_part():
    tree = tomllib.loads(STUDY)
    SCHEMAS["study"].validate(tree | {"presets": {"a.b": {"data": {"train": 4}, "search": {"sampler": "gp"}}}})
    for presets in (
        {"ti ny": {}},
        {"tiny": 3},
        {"tiny": {"preset": "other"}},
        {"tiny": {"presets": {}}},
        {"tiny": {"training": {"epoch": 2}}},
        {"tiny": {"training": {"epochs": 0}}},
        {"tiny": {"factors": {"network": {"hidden": {"orders": [[0, 22]]}}}}},
    ):
        assert not admits("study", tree | {"presets": presets}), presets


@pytest.mark.parametrize(("old", "new", "path", "words"), STUDY_MISTAKES)
def test_mistakes_in_a_study_file(old, new, path, words):
    if not path:
        return  # no TOML, and so no tree that a schema could judge
    assert admits("study", tomllib.loads(STUDY.replace(old, new, 1))) == (new in BEYOND)


@pytest.mark.parametrize(("toml", "path", "sentence"), SPACE_MISTAKES)
def test_mistakes_in_a_search_space(toml, path, sentence):
    search = {"trials": 4, "space": tomllib.loads(toml)}
    assert admits("study", tomllib.loads(STUDY) | {"search": search}) == (toml in SPACE_BEYOND)


@pytest.mark.parametrize("path", FIXED)
def test_a_fixed_setting_is_in_no_search_space(path):
    assert not admits("study", tomllib.loads(STUDY) | {"search": {"trials": 4, "space": {path: ["a"]}}})


@pytest.mark.parametrize(("path", "value", "sentence"), RECIPE_MISTAKES)
def test_mistakes_in_a_recipe(path, value, sentence):
    assert not admits("recipe", changed(path, value))


@pytest.mark.parametrize(("tables", "path", "sentence"), TABLE_MISTAKES)
def test_mistakes_in_a_table_of_structures(tables, path, sentence):
    tree = tomllib.loads('[reference]\nname = "a"\n' + "".join(f"[[structures]]\n{table}\n" for table in tables))
    assert admits("recipe", tree) == any(words in sentence for words in TABLE_BEYOND)


@pytest.mark.parametrize(("keys", "sentence"), MAPPING_MISTAKES)
def test_mistakes_in_a_label(keys, sentence):
    tree = {"reference": {"name": "made"}, "source": {"file": "made.xyz"}, "labels": [label(**keys)]}
    assert admits("mapping", tree) == any(words in sentence for words in MAPPING_BEYOND)


def test_a_missing_key_is_refused():
    for kind, tree in (("recipe", changed("reference", {})), ("study", {"study": {"name": "a"}}), ("mapping", {})):
        assert not admits(kind, tree)


def test_what_the_schema_refuses_tesseral_refuses():
    """The factors of a study, each level replaced by what the schema of its setting refuses."""
    for level in ("true", '"x"', "-1", "[[]]", "{ a = 1 }"):
        for path in (
            "network.hidden.mul",
            "network.layers",
            "loss.name",
            "target",
            "match.by",
            "training.learning_rate",
        ):
            text = STUDY.replace('"network.hidden.lmax"', f'"{path}"').replace("[0, 1, 2]", f"[{level}]")
            if not admits("study", tomllib.loads(text)):
                with pytest.raises(StudyFileError):
                    Study.parse(text, "")
