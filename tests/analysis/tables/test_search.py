"""The search of each arm: what is counted, drawn and told of it, against the records that were put in."""

import polars as pl
import pytest

from tesseral.analysis.figures.curve_figures import search_figures
from tesseral.analysis.report import summary
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import trials_frame
from tesseral.analysis.tables.open import open_study
from tesseral.analysis.tables.search import Saved, SearchRecords, arm_searches, best_so_far, saved
from tesseral.study.configuration.trial import digest
from tesseral.study.records.store import Store
from tests.support.report_page import cells, words
from tests.support.synthetic_study import ENDED, VALIDATION, table, trial_row, tuned_study


def test_the_search_is_counted_as_its_records_say(tuned_results):
    searches = {arm.arm: arm for arm in tuned_results.searches}
    for label, came in VALIDATION.items():
        errors = [value for value in came if isinstance(value, float)]
        arm = searches[label]
        assert (arm.complete, arm.pruned, arm.failed) == (len(errors), came.count("pruned"), came.count("failed"))
        assert arm.repeated == sum(str(value).startswith("repeat") for value in came)
        assert arm.proposed == arm.planned == len(came) - arm.repeated
        assert arm.best == min(errors)
        assert arm.settings == {"training.learning_rate": 1e-3 * (came.index(min(errors)) + 1)}
        assert arm.ended == ENDED[label]
    stands = tuned_results.search_progress
    assert (stands.planned, stands.complete, stands.pruned, stands.failed, stands.unfinished) == (11, 7, 3, 1, 0)


def test_a_store_of_objects_reads_the_same(store, tuned, tuned_results):
    tuned_study(store)
    read = open_study(store.url, "tuned")
    assert analyse(read).searches == tuned_results.searches
    assert read.search.proposals.equals(tuned.search.proposals)


def test_the_best_so_far_falls_where_it_was_put(tuned):
    steps = best_so_far(tuned.trials, tuned.search, "validation.l2_error")
    # Of lmax=0 the fifth proposal was a repeat: the sixth is the fifth distinct one. It failed; the last is complete.
    assert steps.rows() == [
        ("lmax=0", 0, 1, 0.9), ("lmax=0", 0, 3, 0.7), ("lmax=0", 0, 6, 0.7),
        ("lmax=1", 0, 1, 0.5), ("lmax=1", 0, 5, 0.4),
    ]  # fmt: skip
    (figure,) = search_figures(tuned)
    assert figure.name == "search"
    assert figure.svg.count("lmax=1") >= 2


def test_a_trial_that_two_arms_share_is_one_proposal_of_each():
    """The trials table has a row for each of its arms."""
    shared = {"stage": "search", "trial": "a" * 64, "proposal": 0, "metric.validation.l2_error": 0.5}
    trials = trials_frame(table([trial_row(0, 0, 0, **shared), trial_row(1, 0, 0, **shared)]))
    arms = ("lmax=0", "lmax=1")
    proposals = pl.DataFrame({"arm": arms, "repeat": [0, 0], "number": [0, 0], "trial": ["a" * 64] * 2})
    searches = arm_searches(trials, SearchRecords(proposals), arms, 1, 1, "validation.l2_error")
    assert [(search.proposed, search.complete, search.repeated) for search in searches] == [(1, 1, 0), (1, 1, 0)]


def test_the_page_shows_the_search(tuned_page):
    rows = cells(tuned_page, "Search")
    assert rows[0] == ["lmax=0", "6 of 6", "4", "1", "1", "1", "0.700", "learning_rate=0.003"]
    chosen = "learning_rate=0.005; ended before its budget: 50 proposals running repeated earlier ones"
    assert rows[1] == ["lmax=1", "5 of 5", "3", "2", "0", "0", "0.400", chosen]
    text = words(tuned_page)
    assert "6 distinct proposals in each arm by Optuna’s sampler tpe, minimising L² error of the density" in text
    assert "from epoch 2, with one trial in 3 continuing at each rung" in text
    assert "The search sees validation errors only" in text
    assert "Nothing of it enters the errors and intervals of this page" in text
    assert "None of the structures that it sees is in a test split of the confirm stage" in text
    assert "6 of 6 trials complete · search: 11 of 11 trials ended (3 stopped early, 1 failed)" in text
    assert 'id="search"' in tuned_page


def test_what_early_stopping_saved(tuned, tuned_page, tuned_results):
    """Three trials were stopped after 4 of 12 steps and 1.5 s."""
    assert saved(tuned.trials) == Saved(trials=3, unknown=0, seconds=4.5, whole=13.5)
    sentence = (
        "Early stopping saved about 9.0 s of training: 3 trials took 4.5 s in total before being stopped, and would "
        "have taken 14 s to the end at the same pace."
    )
    assert sentence in words(tuned_page)
    assert summary.to_dict(tuned_results)["search"]["saved"]["whole"] == 13.5
    first = tuned.trials.filter(state="pruned")["trial"][0]
    seconds = pl.when(pl.col("trial") != first).then("seconds")
    assert saved(tuned.trials.with_columns(seconds)) == Saved(2, 1, 3.0, 9.0)
    assert Saved(2, 1, 3.0, 9.0).sentence.endswith("at the same pace. The time of 1 more is unknown.")
    assert saved(tuned.trials.filter(pl.col("state") != "pruned")) is None
    assert saved(tuned.trials.with_columns(seconds=pl.lit(None, pl.Float64))) is None


def test_a_proposal_without_a_trial_yet_is_no_repeat(tmp_path):
    tuned_study(Store(tmp_path))
    key = digest("lmax=1")[:12]
    (tmp_path / f"tuned/search/{key}/5.json").write_text('{"number": 5, "trial": "not yet"}')
    (tmp_path / f"tuned/search/{key}/6.json").write_text('{"tri')
    with pytest.warns(UserWarning, match=r"6\.json is damaged"):
        arm = analyse(open_study(tmp_path, "tuned")).searches[1]
    assert (arm.proposed, arm.repeated, arm.complete) == (6, 0, 3)
