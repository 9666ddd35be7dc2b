"""The structures of a recipe: each by its number with the same bits as among all, from tables of every kind."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tesseral.models.data import data_shape as shape
from tesseral.models.reference.geometries import recipe_structures as structures
from tesseral.models.reference.geometries.expected_shape import recipe_shape
from tesseral.models.reference.geometries.recipe_structures import (
    count_structures,
    elements,
    recipe_content,
    structure_at,
)
from tesseral.study.errors import DataError
from tesseral.study.recipe.recipe import Recipe, RecipeReference, read_recipe
from tesseral.study.recipe.structures import Displacements, Inline, Table, WaterClusters, Xyz

FRAMES = """3
Properties=species:S:1:pos:R:3 charge=0
O 0.0 0.0 0.1
H 0.0 0.8 0.7
H 0.0 -0.8 0.7
2
Properties=species:S:1:pos:R:3 charge=-1
O 0.0 0.0 0.0
H 0.0 0.0 0.97
1
Properties=species:S:1:pos:R:3 charge=1
Li 0.0 0.0 0.0
3

O 0.0 0.0 0.2
H 0.0 0.8 0.8
H 0.0 -0.8 0.8
"""


@pytest.fixture
def frames(tmp_path) -> Path:
    path = tmp_path / "some molecules.extxyz"
    path.write_text(FRAMES)
    return path


def recipe(*tables: Table) -> Recipe:
    return Recipe(reference=RecipeReference(name="mixed"), structures=tables)


def waters(molecules: int, count: int, seed: int) -> WaterClusters:
    return WaterClusters(kind="water_clusters", molecules=molecules, count=count, seed=seed)


HYDRIDE = Inline(
    kind="inline", name="hydride", elements=("H", "He"), positions=((0, 0, 0), (0.0, 0.5, 0.75)), charge=1, spin=0
)
MIXED = recipe(waters(2, 5, 7), waters(1, 1, 0), HYDRIDE, waters(5, 4, 3), waters(9, 2, 7))


def test_a_structure_by_its_number_is_that_of_all_of_them():
    wanted = list(structures.structures(MIXED))
    assert len(wanted) == count_structures(MIXED) == 13
    for index in (7, 0, 12, 4, 5, 6, 10, 9, 8, 3, 2, 1, 11):  # in any order: none depends on those before it
        structure, expected = structure_at(MIXED, index), wanted[index]
        assert structure.positions.tobytes() == expected.positions.tobytes()
        assert (structure.id, structure.atomic_numbers) == (expected.id, expected.atomic_numbers)
        assert (structure.charge, structure.spin) == (expected.charge, expected.spin)


def test_tables_follow_one_another_and_ids_differ():
    wanted = [structure.id for structure in structures.structures(MIXED)]
    assert wanted[:8] == [*(f"dimer-000{n}" for n in range(5)), "monomer-0000", "hydride", "pentamer-0000"]
    assert wanted[-1] == "9-mer-0001"
    assert len(set(wanted)) == len(wanted)


def test_a_larger_count_keeps_the_first_structures():
    few, many = recipe(waters(3, 4, 1)), recipe(waters(3, 9, 1))
    for one, same in zip(structures.structures(few), structures.structures(many), strict=False):
        assert one.id == same.id
        assert (one.positions == same.positions).all()


@pytest.mark.parametrize("index", [-1, -13, 13, 100])
def test_a_number_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match=f"expected one of 13 structures, counted from 0, got {index}"):
        structure_at(MIXED, index)


def test_elements_are_those_of_all_structures():
    for each in (MIXED, recipe(waters(1, 3, 0))):
        made = {number for structure in structures.structures(each) for number in structure.atomic_numbers}
        assert elements(each) == sorted(made)


def test_a_shape_makes_only_the_structures_that_it_counts(monkeypatch):
    water = recipe(waters(2, 5, 7), waters(1, 1, 0), waters(5, 4, 3), waters(9, 2, 7))
    monkeypatch.setattr(shape, "COUNTED", 4)
    wanted = list(structures.structures(water))
    made = []
    cluster = structures.water_cluster
    monkeypatch.setattr(structures, "water_cluster", lambda *arguments: made.append(cluster(*arguments)) or made[-1])
    estimated = recipe_shape(water, 3.5)
    assert [positions.tobytes() for positions in made] == [wanted[i].positions.tobytes() for i in (0, 3, 6, 9)]
    assert estimated.atoms == (6 + 6 + 15 + 15) / 4
    assert estimated.edges == sum(shape.count_edges(wanted[i].positions, 3.5) for i in (0, 3, 6, 9)) / 4
    assert estimated.elements == 2


def test_inline_coordinates_are_taken_as_they_stand():
    hydride = structure_at(MIXED, 6)
    assert hydride.atomic_numbers == (1, 2)
    assert hydride.positions.tolist() == [[0, 0, 0], [0.0, 0.5, 0.75]]
    assert (hydride.charge, hydride.spin) == (1, 0)


def test_frames_of_a_file_keep_their_numbers_and_charges(frames):
    listed = list(structures.structures(recipe(Xyz(kind="xyz", file=str(frames)))))
    assert [one.id for one in listed] == [f"some-molecules-000{n}" for n in range(4)]
    assert [one.charge for one in listed] == [0, -1, 1, 0]
    assert listed[1].atomic_numbers == (8, 1)
    np.testing.assert_array_equal(listed[3].positions, [[0, 0, 0.2], [0, 0.8, 0.8], [0, -0.8, 0.8]])
    chosen = recipe(Xyz(kind="xyz", file=str(frames), name="w", first=1, every=2, count=2, charge=3, spin=1))
    assert [(one.id, one.charge, one.spin) for one in structures.structures(chosen)] == [
        ("w-0001", 3, 1),
        ("w-0003", 3, 1),
    ]
    assert elements(recipe(Xyz(kind="xyz", file=str(frames), first=2))) == [1, 3, 8]
    assert count_structures(recipe(Xyz(kind="xyz", file=str(frames), first=2))) == 2


def test_a_file_is_read_again_when_it_has_changed(frames):
    table = recipe(Xyz(kind="xyz", file=str(frames)))
    before = recipe_content(table)
    frames.write_text(FRAMES.replace("0.97", "0.98765"))
    assert structure_at(table, 1).positions[1, 2] == 0.98765
    assert recipe_content(table) != before


def test_what_decides_the_structures_is_the_files_content_not_its_place(frames, tmp_path):
    elsewhere = tmp_path / "other" / frames.name
    elsewhere.parent.mkdir()
    elsewhere.write_text(FRAMES.replace("charge=0", "charge=0 note=none"))
    here, there = (recipe(Xyz(kind="xyz", file=str(path))) for path in (frames, elsewhere))
    assert recipe_content(here) == recipe_content(there)
    assert recipe_content(here) != recipe_content(recipe(Xyz(kind="xyz", file=str(frames), count=3)))
    molecule = {"kind": "displacements", "name": "water", "count": 2}
    here, there = (recipe(Displacements(**molecule, file=str(path))) for path in (frames, elsewhere))
    assert recipe_content(here) == recipe_content(there)
    assert recipe_content(here) != recipe_content(recipe(Displacements(**molecule, file=str(frames), temperature=10.0)))


def test_every_key_of_a_table_decides():
    molecule = {"kind": "displacements", "name": "h2", "elements": ("H", "H"), "positions": ((0, 0, 0), (0, 0, 0.74))}
    shaken = Displacements(**molecule, count=2)
    assert recipe_content(recipe(shaken)) == recipe_content(recipe(Displacements(**molecule, count=2)))
    others = [
        replace(shaken, seed=1),
        replace(shaken, count=3),
        replace(shaken, positions=((0, 0, 0), (0, 0, 0.75))),
        replace(shaken, spin=2),
        replace(shaken, mode="normal_modes"),
        HYDRIDE,
        replace(HYDRIDE, charge=0),
        waters(2, 2, 0),
        waters(2, 2, 1),
    ]
    digests = {json.dumps(recipe_content(recipe(table))) for table in (shaken, *others)}
    assert len(digests) == 1 + len(others)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"first": 4}, "expected at least 1 frames from number 4 on by steps of 1, .* holds 0"),
        ({"count": 5}, "expected at least 5 frames from number 0 on by steps of 1, .* holds 4"),
        ({"file": "none.xyz"}, "expected an extended XYZ file at none.xyz, cannot read it: No such file"),
    ],
)
def test_a_file_without_what_is_asked_for_is_refused(table, sentence, frames):
    with pytest.raises(DataError, match=sentence):
        count_structures(recipe(Xyz(**{"kind": "xyz", "file": str(frames)} | table)))


@pytest.mark.parametrize("stated", ["0.5", "nan", '"1 2 3"', "much"])
def test_a_charge_that_is_no_whole_number_is_refused(stated, frames):
    frames.write_text(FRAMES.replace("charge=-1", f"charge={stated}"))
    with pytest.raises(DataError, match="expected a whole number under charge, frame 1 of"):
        count_structures(recipe(Xyz(kind="xyz", file=str(frames))))
    assert count_structures(recipe(Xyz(kind="xyz", file=str(frames), charge=0))) == 4


def test_files_are_looked_for_beside_the_recipe(frames):
    file = frames.parent / "recipe.toml"
    file.write_text(
        f'[reference]\nname = "a"\n[[structures]]\nkind = "xyz"\nfile = "{frames.name}"\n'
        '[[structures]]\nkind = "water_clusters"\nmolecules = 1\ncount = 1\n'
    )
    read = read_recipe(file)
    assert [structure.id for structure in structures.structures(read)][-2:] == ["some-molecules-0003", "monomer-0000"]


def left_out(*names: str, tables: tuple[Table, ...] = MIXED.structures) -> Recipe:
    return Recipe(reference=RecipeReference(name="mixed", without=names), structures=tables)


def test_what_is_left_out_leaves_the_others_as_they_are(frames):
    file = Xyz(kind="xyz", file=str(frames), name="w", first=1, every=2)
    tables = (*MIXED.structures, file)
    names = ("w-0001", "dimer-0003", "hydride", "dimer-0000", "dimer-0003", "9-mer-0001")
    without = left_out(*names, tables=tables)
    wanted = [one for one in structures.structures(recipe(*tables)) if one.id not in names]
    assert count_structures(without) == len(wanted) == 10
    for index, one in enumerate(wanted):
        structure = structure_at(without, index)
        assert structure.id == one.id
        assert structure.positions.tobytes() == one.positions.tobytes()
    assert [one.id for one in structures.structures(without)] == [one.id for one in wanted]
    with pytest.raises(IndexError, match="expected one of 10 structures"):
        structure_at(without, 10)


def test_elements_that_only_what_is_left_out_has_are_none_of_the_files(frames):
    ions = Xyz(kind="xyz", file=str(frames), name="w")
    tables = (waters(1, 1, 0), HYDRIDE, ions)
    assert elements(recipe(*tables)) == [1, 2, 3, 8]
    assert elements(left_out("hydride", "w-0002", tables=tables)) == [1, 8]
    assert elements(left_out("w-0000", "w-0001", "w-0003", "monomer-0000", tables=tables)) == [1, 2, 3]


def test_what_is_left_out_decides_in_any_order():
    assert recipe_content(left_out()) == recipe_content(MIXED)
    assert recipe_content(left_out("hydride", "dimer-0001")) == recipe_content(left_out("dimer-0001", "hydride"))
    assert recipe_content(left_out("hydride")) != recipe_content(MIXED)


@pytest.mark.parametrize("name", ["dimer-0005", "dimer-3", "dimer-00003", "trimer-0000", "hydride-0000", "dimer", ""])
def test_leaving_out_what_no_table_makes_is_refused(name):
    with pytest.raises(DataError, match=f"structures in reference.without, got '{name}', which no table makes"):
        count_structures(left_out(name))


def test_leaving_out_everything_is_refused():
    with pytest.raises(DataError, match=r"reference.without leaves in the recipe, it names all of them"):
        count_structures(left_out("hydride", tables=(HYDRIDE,)))
