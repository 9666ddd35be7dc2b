"""The precision that a plan foretells: from a stated spread, from an earlier study, and when none is told."""

import json
from math import exp, log1p, sqrt

import pytest
from scipy import stats

from tesseral.cluster.planning.plan import StudyPlan, plan
from tesseral.cluster.planning.precision import block_notes, expected_precision, precision_sentences
from tesseral.study.records.ledger import freeze
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.command_line import tesseral
from tests.support.water_study import water_study


def planned(storage, more: str = "", **changes) -> StudyPlan:
    return plan(Study.parse(water_study("new", **changes) + more, "new.toml"), storage)


def test_a_stated_spread(storage):
    expected = expected_precision(planned(storage, blocks=6), 10.0)
    assert expected is not None
    t, s = stats.t.ppf(0.975, 5), log1p(0.1)
    assert expected.half_width == pytest.approx(100 * (exp(t * s * sqrt(1 / 6 + 4 / 8)) - 1))  # test = 4, train = 8
    assert expected.half_width_here == pytest.approx(100 * (exp(t * s * sqrt(1 / 6)) - 1))
    assert expected.needed_here == {2: 184, 5: 32, 10: 10, 20: 5}
    assert expected.needed == {2: None, 5: None, 10: None, 20: None}
    assert precision_sentences(expected) == [
        "with 6 blocks, expect the 95 % interval of a change to be about ±22 % for new data of the same kind and ±11 % "
        "for these data, if a change spreads by 10 % between blocks, as stated",
        "blocks that tell a change with a chance of 80 %: for these data 184 for 2 %, 32 for 5 %, 10 for 10 % and 5 "
        "for 20 %; for new data none does",
    ]


def test_the_largest_spread_of_earlier_studies_of_the_same_metric_and_data(storage, monkeypatch):
    spreads = {"wide": 0.2, "narrow": 0.1, "other": 0.9, "tuned": 0.9, "empty": None}
    monkeypatch.setattr("tesseral.analysis.tables.open.open_trials", lambda _, name: name)
    monkeypatch.setattr("tesseral.analysis.statistics.comparisons.precision.paired_spread", spreads.__getitem__)
    tuned = '[search]\ntrials = 2\nspace."training.learning_rate" = [1e-3, 1e-2]\n'
    for name in spreads:
        text = water_study(name) + (tuned if name == "tuned" else "")
        text = text.replace('"l2_error"', '"relative_error"') if name == "other" else text
        freeze(Store(storage).child(name), Study.parse(text, name))
    expected = expected_precision(planned(storage))
    assert expected is not None
    assert (expected.source, expected.spread) == ("as in wide", pytest.approx(100 * (exp(0.2) - 1)))


def test_nothing_is_foretold_without_a_spread_or_for_tuned_arms(storage):
    assert expected_precision(planned(storage)) is None
    tuned = '[search]\ntrials = 2\nspace."training.learning_rate" = [1e-3, 1e-2]\n'
    assert expected_precision(planned(storage, tuned), 10.0) is None


def test_too_few_blocks_for_a_verdict_are_noted(storage):
    assert block_notes(planned(storage, blocks=3)) == []
    assert block_notes(planned(storage, blocks=2)) == [
        "2 blocks: intervals will hold for these splits only, and no verdict will be given; that takes "
        "replication.blocks = 3 or more"
    ]
    few = expected_precision(planned(storage, blocks=2), 10.0)
    assert few is not None
    assert few.half_width is few.half_width_here is None
    assert precision_sentences(few) == [
        "blocks that tell a change with a chance of 80 %: for these data 184 for 2 %, 32 for 5 %, 10 for 10 % and 5 "
        "for 20 %; for new data none does, if a change spreads by 10 % between blocks, as stated"
    ]


def test_nothing_is_foretold_of_new_data_where_all_blocks_test_the_same_structures(storage):
    own = '[data.tests]\nhot = "reference/hot.parquet"\n'
    assert block_notes(planned(storage, own)) == [], "judged on the test split"
    text = water_study("new", blocks=6).replace('"l2_error"', '"hot.l2_error"') + own
    judged = plan(Study.parse(text, "new.toml"), storage)
    note = "all blocks test the same structures, so there will be no verdict for new data"
    assert block_notes(judged) == [note]
    expected = expected_precision(judged, 10.0)
    assert expected is not None
    assert (expected.half_width, expected.needed) == (None, {})
    assert precision_sentences(expected) == [
        "with 6 blocks, expect the 95 % interval of a change to be about ±11 % for these data, if a change spreads by "
        "10 % between blocks, as stated",
        "blocks that tell a change with a chance of 80 %: for these data 184 for 2 %, 32 for 5 %, 10 for 10 % and 5 "
        "for 20 %",
    ]


def test_the_command_prints_it(storage, study_file):
    done = tesseral("plan", study_file, "--spread", "5", "--storage", storage)
    assert done.returncode == 0, done.stderr
    assert "with 3 blocks, expect the 95 % interval of a change to be about ±21 % for new data" in " ".join(
        done.stdout.split()
    )
    tree = json.loads(tesseral("plan", study_file, "--spread", "5", "--storage", storage, "--json").stdout)
    assert tree["precision"]["needed_here"]["5"] == 10
