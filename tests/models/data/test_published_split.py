"""A published split: each split of a block is drawn from its own part."""

from dataclasses import replace

import pytest

from tesseral.models.data.published_split import check_published, hash_split, parts, published_split, with_split
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import check_splits, split_structures
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.trial import Seeds, Trial
from tesseral.study.errors import DataError, StudyFileError
from tests.support.synthetic_density import synthetic_reference, with_column

SAID = ["train"] * 12 + ["validation"] * 4 + ["test"] * 6 + [None] * 2
DATA = Data(reference="x", split="column", train=8, validation=3, test=6)
PUBLISHED = with_column(synthetic_reference(), "split", SAID)


def text(said: list[str | None]) -> str:
    rows = [f"synthetic-{index},{each}" for index, each in enumerate(said) if each]
    return "\n".join(["id,split", *reversed(rows)])


@pytest.mark.parametrize("seed", range(10))
def test_each_split_is_drawn_from_its_part(seed):
    split = split_structures(DATA, range(24), seed, published=SAID)
    assert [len(each) for each in split] == [8, 3, 6]
    assert {*split.train} < {*range(12)}
    assert {*split.validation} < {*range(12, 16)}
    assert {*split.test} == {*range(16, 22)}
    smaller = split_structures(replace(DATA, train=5), range(24), seed, published=SAID)
    assert (smaller.train, *smaller[1:]) == (split.train[:5], *split[1:]), "nested"


def test_validation_comes_from_the_training_part_if_none_is_published():
    said = [None if each == "validation" else each for each in SAID]
    split = split_structures(DATA, range(24), 3, published=said)
    assert {*split.train} | {*split.validation} < {*range(12)}
    assert not {*split.train} & {*split.validation}
    nested = split_structures(replace(DATA, train=4), range(24), 3, published=said)
    assert nested.validation == split.validation


def test_a_file_says_the_same_as_the_column():
    read = with_split(synthetic_reference(), text(SAID), "published.csv")
    assert read.table["split"].to_pylist() == SAID
    assert hash_split(read) == hash_split(PUBLISHED)
    assert read.content_hash == synthetic_reference().content_hash != PUBLISHED.content_hash
    assert published_split(DATA, read) == SAID
    assert published_split(replace(DATA, split=None), read) is None
    assert parts(SAID)["test"] == list(range(16, 22))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"expected the columns id,split in the first line of f\.csv, got nothing"),
        ("name,split\na,train", "got name,split"),
        ("id,split\nsynthetic-0,holdout", r"one of train, validation, test in line 2 of f\.csv, got 'synthetic-0,hold"),
        ("id,split\nsynthetic-0,train\nsynthetic-0,test", r"in line 3 .* 'synthetic-0,test' again"),
        ("id,split\nwater,train", r"expected ids of the reference data, such as 'synthetic-0', got 'water' in f\.csv"),
    ],
)
def test_a_file_that_says_something_else_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        with_split(synthetic_reference(), content, "f.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train": 13},
            "data.train: expected at most the 12 converged structures that are published for train, got 13",
        ),
        ({"validation": 5}, "data.validation: expected at most the 4 .* got 5"),
        ({"test": 7}, "data.test: expected at most the 6 .* got 7"),
    ],
)
def test_splits_larger_than_their_parts_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        check_splits(replace(DATA, **changes), PUBLISHED)
    check_splits(DATA, PUBLISHED)


def test_validation_and_training_share_the_training_part():
    said = [None if each == "validation" else each for each in SAID]
    check_published(replace(DATA, train=9, validation=3), said)
    with pytest.raises(DataError, match="with the validation split, which is not published, got 13"):
        check_published(replace(DATA, train=10, validation=3), said)
    with pytest.raises(DataError, match="from a column that says so, got none"):
        check_published(DATA, [None] * 24)


def trial(data: Data, reference: Reference) -> Trial:
    split, seeds = None if data.split is None else hash_split(reference), Seeds(split=1, order=2, initialisation=3)
    return Trial(configuration=Configuration(data=data), data_hash="d", seeds=seeds, numerics=1, split=split)


def test_an_id_holds_what_the_split_says_and_not_where():
    same = trial(replace(DATA, split="published.csv"), with_split(synthetic_reference(), text(SAID), "f"))
    assert same.id == trial(DATA, PUBLISHED).id
    other = trial(DATA, with_column(PUBLISHED, "split", SAID[::-1]))
    assert len({same.id, other.id, trial(replace(DATA, split=None), PUBLISHED).id}) == 3
    assert Trial.from_dict(same.to_dict()).id == same.id


def test_a_published_split_and_groups_are_refused_together():
    with pytest.raises(StudyFileError, match=r"expected none beside data\.split, which says where structures belong"):
        Configuration(data=replace(DATA, groups="composition")).resolved()
