"""A hold-out: structures that no search of a study sees, from which all of its test splits are drawn."""

from dataclasses import replace

import pytest

from tesseral.models.data.holdout import check_holdout, holdout_size
from tesseral.models.data.split import split_structures
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.trial import HoldOut, Seeds, Trial
from tesseral.study.design.stages import confirm_seeds, search_seeds
from tesseral.study.errors import DataError
from tests.support.synthetic_density import Memory, small_configuration, synthetic_reference, synthetic_trial

DATA = Data(reference="x", train=10, validation=4, test=4)
GROUPS = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 7, 8, 9, 9, 10, 10, 10, 11]


def split_of(seeds: Seeds, groups=range(24), data: Data = DATA):
    return split_structures(data, groups, seeds.split, seeds.fold, holdout=seeds.holdout)


@pytest.mark.parametrize("groups", [range(24), GROUPS], ids=["single", "groups"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("folds", [False, True])
def test_no_search_sees_what_any_block_is_tested_on(seed, groups, folds):
    data = DATA if groups != GROUPS else replace(DATA, train=6, validation=2, test=3, groups="composition")
    held = 10 if groups != GROUPS else 8
    searches = [split_of(search_seeds(seed, repeat=repeat, held=held), groups, data) for repeat in range(5)]
    blocks = [split_of(confirm_seeds(seed, b, 0, folds=folds, held=held), groups, data) for b in range(2)]
    tested = {index for split in blocks for index in split.test}
    for split in searches:
        assert split.test == ()
        assert not tested & {*split.train, *split.validation}
        kept = {groups[index] for index in tested}
        assert not kept & {groups[index] for index in (*split.train, *split.validation)}, "nor a sibling"
    for split in (*searches, *blocks):
        assert [len(split.train), len(split.validation)] == [data.train, data.validation]
        parts = [{groups[index] for index in part} for part in split]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert all(len(split.test) == data.test for split in blocks)
    if folds:
        assert not {*blocks[0].test} & {*blocks[1].test}


def test_blocks_are_trained_on_what_they_are_not_tested_on_hold_out_or_not():
    blocks = [split_of(confirm_seeds(3, block, 0, held=10)) for block in range(40)]
    assert {index for split in blocks for index in split.train} == {*range(24)}
    tested = {index for split in blocks for index in split.test}
    assert len(tested) == 10, "every block is tested on some of the ten"
    assert len({split.test for split in blocks}) > 10
    smaller = split_of(confirm_seeds(3, 0, 0, held=10), data=replace(DATA, train=5))
    assert (smaller.train, *smaller[1:]) == (blocks[0].train[:5], *blocks[0][1:]), "nested"


def test_it_is_what_the_largest_search_leaves():
    reference = synthetic_reference(24)
    assert holdout_size([DATA, replace(DATA, train=12)], reference) == 24 - 12 - 4
    check_holdout([DATA], reference, 10)
    check_holdout([replace(DATA, train=16)], reference, 4, folds=1)
    with pytest.raises(DataError, match=r"at least 12 structures of x beside .* for 3 disjoint test .* got 10 of 24"):
        check_holdout([DATA], reference, 10, folds=3)
    with pytest.raises(DataError, match="for a test split of 4 that it never sees, got 3 of 24"):
        check_holdout([DATA], reference, 3)
    with pytest.raises(DataError, match=r"at most the 14 structures of x .* got 11 \+ 4; a study of another name"):
        check_holdout([replace(DATA, train=11)], reference, 10)
    grouped = replace(DATA, groups="composition", train=6, validation=2)  # two groups of 12
    with pytest.raises(DataError, match="as whole groups by composition are kept"):
        check_holdout([grouped], reference, holdout_size([grouped], reference))


def test_an_id_holds_the_hold_out_and_that_of_a_study_without_one_stays():
    def trial(holdout: HoldOut | None) -> Trial:
        seeds = Seeds(split=1, order=2, initialisation=3, holdout=holdout)
        return Trial(configuration=Configuration(data=DATA), data_hash="d", seeds=seeds, numerics=1)

    held = HoldOut(seed=5, size=10, seen=True)
    ids = {trial(each).id for each in (None, held, replace(held, size=11), replace(held, seen=False))}
    assert len(ids) == 4
    assert "holdout" not in trial(None).to_dict()["seeds"]
    assert Trial.from_dict(trial(held).to_dict()) == trial(held)
    assert search_seeds(7).holdout is confirm_seeds(7, 0, 0).holdout is None
    one, other = search_seeds(7, held=10).holdout, confirm_seeds(7, 3, 1, held=10).holdout
    assert (one.seed, one.size) == (other.seed, other.size)
    assert (one.seen, other.seen) == (False, True)


def test_a_search_that_asks_for_what_is_kept_from_it_is_told():
    reference, configuration = synthetic_reference(24), small_configuration(epochs=1)
    holdout = HoldOut(seed=5, size=12, seen=False)
    trial = synthetic_trial(reference, configuration)
    trial = replace(trial, seeds=replace(trial.seeds, holdout=holdout))
    with pytest.raises(DataError, match="expected at most the 8 structures that are not kept from the search"):
        train(trial, reference, Memory(), device="cpu", test=False)
