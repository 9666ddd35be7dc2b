"""What a study may grow by, and what would change its trials."""

import pytest

from tesseral.study.changes import changes
from tesseral.study.study import Study
from tests.support.mistakes import STUDY

BEFORE = Study.parse(STUDY, "")


def now(old: str, new: str) -> Study:
    assert old in STUDY
    return Study.parse(STUDY.replace(old, new), "")


@pytest.mark.parametrize(
    ("old", "new", "grown"),
    [
        ("blocks = 2", "blocks = 5", ("5 blocks instead of 2",)),
        ("replicates = 3", "replicates = 4", ("4 replicates instead of 3",)),
        ("[0, 1, 2]", "[0, 1, 2, 3]", ("arms lmax=3, loss=raw; lmax=3, loss=overlap",)),
        (
            "seed = 7",
            'seed = 7\nbaseline = "lmax=1, loss=raw"',
            ("the baseline lmax=1, loss=raw instead of lmax=0, loss=raw",),
        ),
        ("seed = 7", 'seed = 7\nwithin = ["loss.name"]', ("study.within loss.name instead of none",)),
        ("seed = 7", 'seed = 7\nmetric = "l2_error"', ("the metric l2_error instead of epsilon",)),
        ("seed = 7", 'seed = 7\ndescription = "why"', ("another description",)),
        ("[data]", "[resources]\ncpus = 2\n\n[data]", ()),
    ],
)
def test_what_a_study_may_grow_by(old, new, grown):
    found = changes(now(old, new), BEFORE)
    assert (found.grown, found.refused) == (grown, ())


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("blocks = 2", "blocks = 1", "replication.blocks is 1 and was 2"),
        ("seed = 7", "seed = 8", "study.seed is 8 and was 7"),
        ("epochs = 4", "epochs = 5", "arm 'lmax=0, loss=overlap'.training.epochs is 5 and was 4"),
        (
            "[0, 1, 2]",
            "[0, 1]",
            "it lacks lmax=2, loss=raw; lmax=2, loss=overlap, which `tesseral drop try --arm 'lmax=2, loss=raw' --arm "
            "'lmax=2, loss=overlap'` would drop",
        ),
        ("[0, 1, 2]", "[0, 1, 3]", "without lmax=2, loss=raw; lmax=2, loss=overlap"),
    ],
)
def test_what_would_change_trials(old, new, refused):
    found = changes(now(old, new), BEFORE)
    assert found.grown == () or "epochs" not in new
    assert any(refused in phrase for phrase in found.refused), found.refused


def test_a_metric_that_a_search_followed_stays():
    """Unless the study file says what the search minimises: then its trials are the same."""
    search = "[search]\ntrials = 3\n[search.space]\ntraining.learning_rate = { low = 1e-3, high = 1e-1, log = true }\n"
    text = STUDY.replace("test = 4", "test = 4\nvalidation = 3") + search
    before = Study.parse(text.replace("seed = 7", 'seed = 7\nmetric = "l2_error"'), "")
    other = text.replace("seed = 7", 'seed = 7\nmetric = "relative_error"')
    found = changes(Study.parse(other, ""), before)
    assert found.refused == ('its search followed another metric, which search.objectives = ["l2_error"] keeps',)
    kept = changes(Study.parse(other.replace("[search]", '[search]\nobjectives = ["l2_error"]'), ""), before)
    assert (kept.grown, kept.refused) == (("the metric relative_error instead of l2_error",), ())


def test_a_sequential_allocation_decided_its_blocks_by_its_baseline():
    text = STUDY.replace("replicates = 3", 'allocate = "sequential"\nprecision = 5.0\nmax_blocks = 9\nreplicates = 1')
    before = Study.parse(text, "")
    for old, new in (("blocks = 2", "blocks = 3"), ("seed = 7", 'seed = 7\nbaseline = "lmax=1, loss=raw"')):
        found = changes(Study.parse(text.replace(old, new, 1), ""), before)
        assert found.grown == ()
        assert found.refused
