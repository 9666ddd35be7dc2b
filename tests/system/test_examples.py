"""The studies of the papers, as shipped: each is planned as it stands, whole and small, from its recipes alone."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

from tesseral.cluster.planning.cost import SHIPPED
from tesseral.cluster.planning.forecast import forecasts, total_of
from tesseral.cluster.planning.plan import plan
from tesseral.models.reference.geometries import displacements
from tesseral.models.reference.geometries.expected_shape import recipe_shape
from tesseral.study.configuration.target import Target
from tesseral.study.recipe.mapping import read_mapping
from tesseral.study.recipe.recipe import read_recipe
from tesseral.study.study import Study

EXAMPLES = Path(str(resources.files("tesseral.study.examples")))
STUDIES = [path for path in sorted(EXAMPLES.glob("*.toml")) if "study" in tomllib.loads(path.read_text())]
PAPERS = ("hierarchy", "output_order", "angular", "skipped_orders", "fusion")
MOST_TRIALS, PAIRS = 48, 6
"""Of a preset that is to run on a laptop."""
MOST_SECONDS = 2 * 12 * 60
"""Of one core, of all its trials: 12 minutes on two."""
IMPORTED = {"reference/qm9.parquet": "mapping_qm9.toml"}
"""Data that no recipe makes → the mapping that imports it."""


@dataclass(frozen=True)
class Shipped:
    """A study file, or a preset of it."""

    name: str
    preset: str | None

    def __str__(self) -> str:
        return self.name if self.preset is None else f"{self.name}-{self.preset}"

    def load(self) -> Study:
        return Study.load(EXAMPLES / f"{self.name}.toml", self.preset)


def shipped() -> list[Shipped]:
    files = []
    for path in STUDIES:
        presets = tomllib.loads(path.read_text()).get("presets", {})
        files += [Shipped(path.stem, preset) for preset in (None, *presets)]
    return files


def test_the_papers_have_their_studies_and_small_ones():
    assert {(one.name, one.preset) for one in shipped()} >= {
        (name, each) for name in PAPERS for each in (None, "small")
    }


@pytest.mark.parametrize("one", shipped(), ids=str)
def test_each_is_valid_and_named_as_its_file(one):
    study = one.load()
    assert study.name == str(one)
    assert len(study.arms) >= 2


@pytest.mark.parametrize("one", [one for one in shipped() if one.name in PAPERS], ids=str)
def test_each_is_planned_from_its_recipe_and_says_its_cost(one, tmp_path):
    planned = plan(one.load(), tmp_path)
    told = forecasts(planned, SHIPPED)
    assert total_of(told, "seconds")
    for arm in planned.arms:
        assert arm.size.parameters_live > 0
        assert arm.arm.match == "none" or abs(arm.residual) < 0.05
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", PAPERS)
def test_a_small_preset_takes_at_most_twelve_minutes_on_two_cores(name, tmp_path):
    """By the shipped rate: a forecast, which no machine's speed changes."""
    planned = plan(Shipped(name, "small").load(), tmp_path)
    seconds = total_of(forecasts(planned, SHIPPED), "seconds")
    assert seconds is not None
    assert seconds <= MOST_SECONDS


def test_displaced_molecules_are_planned_by_what_the_recipe_gives(monkeypatch):
    """Their minima and vibrations take minutes, and would change hardly an edge."""

    def refused(*_: object) -> None:
        raise AssertionError("a plan computes nothing")

    monkeypatch.setattr(displacements, "vibrations", refused)
    recipe = read_recipe(EXAMPLES / "small_molecules.toml")
    shape = recipe_shape(recipe, 10.0, Target(quantity="energy"))
    atoms = [len(table.elements) for table in recipe.structures]
    assert shape.elements == 5
    assert shape.atoms == pytest.approx(sum(atoms) / len(atoms))
    assert shape.edges == pytest.approx(sum(number * (number - 1) for number in atoms) / len(atoms))


@pytest.mark.parametrize("name", PAPERS)
def test_a_small_preset_is_small_and_its_pairs_are_six(name):
    study = Shipped(name, "small").load()
    replication = study.file.replication
    assert study.file.search is None
    assert len(study.arms) * replication.blocks * replication.replicates <= MOST_TRIALS
    assert (replication.blocks, replication.allocate) == (PAIRS, "fixed")
    assert study.file.resources.gpus == 0
    whole = Shipped(name, None).load()
    assert len(study.arms) < len(whole.arms)


@pytest.mark.parametrize("one", [one for one in shipped() if one.name in PAPERS], ids=str)
def test_the_data_of_each_has_a_recipe_or_a_mapping_that_makes_it(one):
    for arm in one.load().arms:
        data = arm.configuration.data
        assert data.recipe is not None
        recipe = read_recipe(EXAMPLES / data.recipe)
        if data.reference in IMPORTED:
            assert read_mapping(EXAMPLES / IMPORTED[data.reference]).reference.name == Path(data.reference).stem
            continue
        assert recipe.reference.name == Path(data.reference).stem
        counts = sum(table.count for table in recipe.structures)
        assert data.train + data.validation + data.test <= counts


@pytest.mark.parametrize("one", [one for one in shipped() if one.name in PAPERS], ids=str)
def test_the_commands_in_its_head_are_there(one):
    """The head of a file names the commands for it, and they name files that are there."""
    head = (EXAMPLES / f"{one.name}.toml").read_text().split("\n\n")[0]
    said = [line.removeprefix("#").split() for line in head.splitlines() if line.startswith("#     tesseral")]
    files = {word.rpartition("/")[2] for words in said for word in words if word.endswith(".toml")}
    assert f"{one.name}.toml" in files
    assert all((EXAMPLES / name).is_file() for name in files)
    study = one.load()
    for command in ("run", "report"):
        lines = [words for words in said if words[1] == command]
        assert any(words[-2:] == ["--preset", "small"] for words in lines)
        assert any("--preset" not in words for words in lines)
    data = {study.arms[0].configuration.data.reference}
    assert all(IMPORTED.get(one, f"{Path(one).stem}.toml") in files for one in data)
