"""Groups of structures that one split holds whole."""

from dataclasses import replace

import numpy as np
import pytest

from tesseral.models.data.groups import group_structures, same_geometry
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import check_splits, split_structures
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.quantities import Label
from tesseral.study.configuration.trial import Seeds, Trial
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.synthetic_density import synthetic_reference, with_column

GROUPS = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 7, 8, 9, 9, 10, 10, 10, 11]
DATA = Data(reference="x", groups="composition", train=6, validation=3, test=5)


def groups_of(split):
    return [{GROUPS[index] for index in part} for part in split]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fold", [None, 0, 1, 2])
def test_no_group_is_in_two_splits(seed, fold):
    split = split_structures(DATA, GROUPS, seed, fold)
    assert [len(part) for part in split] == [6, 3, 5]
    train, validation, test = groups_of(split)
    assert not train & validation | train & test | validation & test
    smaller = split_structures(replace(DATA, train=4), GROUPS, seed, fold)
    assert (smaller.train, *smaller[1:]) == (split.train[:4], *split[1:]), "nested"


@pytest.mark.parametrize("seed", range(20))
def test_no_group_is_in_two_folds(seed):
    tested = [split_structures(replace(DATA, test=4), GROUPS, seed, fold).test for fold in range(3)]
    groups = [{GROUPS[index] for index in test} for test in tested]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert sorted(map(len, tested)) == [4, 4, 4]


def test_copies_have_one_geometry_wherever_they_lie():
    reference = synthetic_reference(6)
    positions = reference.table["positions"].to_pylist()
    positions[4] = [[x + 3, y - 1, z + 0.5] for x, y, z in positions[0]]
    copied = with_column(reference, "positions", positions)
    assert group_structures(copied, "geometry") == [0, 1, 2, 3, 0, 4]
    assert group_structures(with_column(copied, "charge", [0, 0, 0, 0, 1, 0]), "geometry") == [0, 1, 2, 3, 4, 5]
    assert group_structures(copied, "composition") == [0, 1, 0, 1, 0, 1]
    assert group_structures(copied, None) == list(range(6))


@pytest.mark.parametrize("atoms", [1, 2, 4, 5, 8, 20])
@pytest.mark.parametrize("noise", [0.0, 5e-6])
def test_copies_are_found_wherever_their_coordinates_are_rounded(atoms, noise):
    """Coordinates of four decimals, as files have them, moved by any vector: many lie on the edge of a rounding."""
    draw = np.random.default_rng(atoms)
    rows = []
    for _ in range(40):
        places = draw.normal(size=(atoms, 3)).round(4)
        for move in (np.zeros(3), draw.normal(size=3).round(4)):
            moved = places + move + noise * draw.uniform(-1, 1, size=places.shape)
            rows.append({"charge": 0, "atomic_numbers": [6] * atoms, "positions": moved.tolist()})
    expected = [0] * 80 if atoms == 1 else [index // 2 for index in range(80)]
    assert same_geometry(rows) == expected


def test_many_copies_take_no_more_than_linear_memory():
    row = {"charge": 0, "atomic_numbers": [1, 1], "positions": [[0.0, 0.0, 0.0], [0.74, 0.0, 0.0]]}
    assert set(same_geometry([row] * 30_000)) == {0}


def test_structures_that_did_not_converge_are_in_no_group():
    reference = with_column(synthetic_reference(4), "converged", [True, False, True, True])
    assert group_structures(reference, "composition") == [0, 0, 1]


def test_a_label_names_the_groups():
    reference = synthetic_reference(4)
    labelled = Reference(
        reference.table.append_column("label.run", [[7.0, 8.0, 7.0, 9.0]]),
        reference.basis,
        {"run": Label(irreps=parse_irreps("0e"), per="structure", unit="")},
    )
    assert group_structures(labelled, "label:run") == [0, 1, 0, 2]
    with pytest.raises(StudyFileError) as caught:
        group_structures(labelled, "label:walk")
    assert str(caught.value) == (
        "data.groups: expected geometry, composition or a label of the data (label:run), got 'label:walk'"
    )


def test_whole_groups_must_fit_whatever_the_seed():
    reference = synthetic_reference(12)  # two compositions, six structures each
    check_splits(Data(reference="x", groups="geometry", train=8, validation=2, test=2), reference)
    with pytest.raises(DataError) as caught:
        check_splits(Data(reference="x", groups="composition", train=6, test=2), reference)
    assert str(caught.value) == (
        "data.groups: expected splits of at most 7 structures in all, got 8: the converged structures of x are 2 "
        "groups by composition, the largest of 6, and a split that ends inside a group leaves the rest of it out, 5 of "
        "12 at most"
    )
    with pytest.raises(DataError, match=r"data\.train: expected train"):
        check_splits(Data(reference="x", groups="composition", train=12, test=2), reference)
    with pytest.raises(DataError, match=r"got 2 × 2 = 4, where whole groups by composition take up to 7 a block"):
        check_splits(Data(reference="x", groups="composition", train=2, test=2), reference, folds=2)


def test_ids_of_trials_without_groups_do_not_know_the_setting():
    plain = Configuration(data=Data(reference="x", train=6, test=2))
    assert "groups" not in plain.to_dict()["data"]
    grouped = replace(plain, data=replace(plain.data, groups="geometry"))
    assert Configuration.from_dict(grouped.to_dict()) == grouped
    assert Configuration.from_dict(plain.to_dict()) == plain
    trials = [
        Trial(configuration=each, data_hash="0", seeds=Seeds(split=0, order=0, initialisation=0), numerics=1)
        for each in (plain, grouped)
    ]
    assert trials[0].id != trials[1].id
    assert trials[1].configuration.settings()["data.groups"] == "geometry"
