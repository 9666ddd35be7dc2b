"""The budget of independent searches: their number, shares, seeds and folders, and mistakes in a sentence."""

import hashlib

import pytest

from tesseral.study.design.search_budget import ENOUGH, FEWEST, default_repeats, share_out, shares_text
from tesseral.study.design.stages import refused_seeds, search_folder, search_seeds
from tesseral.study.errors import StudyFileError
from tesseral.study.study import Study
from tests.support.water_study import water_study

SPACE = "\n[search.space]\ntraining.batch_size = [2, 4]\n"


def test_there_are_as_many_searches_as_blocks_if_the_budget_allows():
    for trials in range(1, 60):
        for blocks in range(1, 25):
            repeats = default_repeats(trials, blocks)
            assert 1 <= repeats <= min(trials, blocks)
            assert repeats != 2, "two searches give no interval"
            if repeats == 1:
                assert blocks < 3 or trials < 3 * FEWEST
            else:
                assert min(share_out(trials, repeats)) >= (FEWEST if repeats == 3 else ENOUGH)
                assert repeats == blocks or trials < ENOUGH * (repeats + 1)


@pytest.mark.parametrize(
    ("trials", "blocks", "repeats"),
    [(11, 6, 1), (12, 6, 3), (20, 6, 3), (24, 6, 4), (50, 6, 6), (50, 4, 4), (50, 12, 8), (100, 2, 1)],
)
def test_the_default_number_of_searches(trials, blocks, repeats):
    assert default_repeats(trials, blocks) == repeats


@pytest.mark.parametrize(
    ("trials", "repeats", "shares", "text"),
    [(6, 1, (6,), "6"), (20, 5, (4, 4, 4, 4, 4), "4"), (20, 6, (4, 4, 3, 3, 3, 3), "3 or 4"), (3, 3, (1, 1, 1), "1")],
)
def test_the_budget_is_shared_out_equally(trials, repeats, shares, text):
    assert share_out(trials, repeats) == shares
    assert sum(shares) == trials
    assert shares_text(trials, repeats) == text


def test_searches_share_no_seed_and_the_first_has_those_of_a_single_search():
    def expected(*parts: str) -> int:
        text = "[7," + ",".join(parts) + "]"
        return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) >> 1

    assert search_seeds(7).split == expected('"search"', '"split"')
    assert search_seeds(7, "key").initialisation == expected('"search"', '"initialisation"', '"key"')
    assert search_seeds(7, "key", 2).order == expected('"search"', '"order"', '"repeat"', "2")
    several = [search_seeds(7, "key", repeat) for repeat in range(4)] + [
        refused_seeds(7, "key", repeat) for repeat in range(4)
    ]
    assert len({seed for own in several for seed in (own.split, own.order, own.initialisation)}) == 3 * 8
    assert {own.fold for own in several} == {None}
    assert search_seeds(7, "key", 2).split == search_seeds(7, "other", 2).split, "arms share the split of a repeat"
    assert [search_folder("0ab1", repeat) for repeat in (0, 1, 12)] == [
        "search/0ab1", "search/0ab1-1", "search/0ab1-12",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("trials = 2\nrepeats = 3", "expected at most the 2 proposals that searches share, got 3"),
        ("trials = 9\nrepeats = 4", "expected at most the 3 blocks in which the chosen settings are confirmed, got 4"),
    ],
)
def test_more_searches_than_proposals_or_blocks_are_refused(keys, sentence):
    with pytest.raises(StudyFileError, match=sentence) as caught:
        Study.parse(f"{water_study('small', blocks=3)}\n[search]\n{keys}{SPACE}", "small.toml")
    assert caught.value.path == "search.repeats"


def test_a_study_knows_its_number_of_searches():
    def repeats(more: str) -> int:
        return Study.parse(water_study("small", blocks=3) + more, "small.toml").repeats

    assert repeats("") == 0
    assert repeats(f"\n[search]\ntrials = 3{SPACE}") == 1
    assert repeats(f"\n[search]\ntrials = 11{SPACE}") == 1
    assert repeats(f"\n[search]\ntrials = 12{SPACE}") == 3
    assert repeats(f"\n[search]\ntrials = 100{SPACE}") == 3
    assert repeats(f"\n[search]\ntrials = 100\nrepeats = 2{SPACE}") == 2
