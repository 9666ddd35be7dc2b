"""Arms of several studies: pairs are those of one study, and what is no pair is said."""

from dataclasses import replace

import polars as pl
import pytest

from tesseral.analysis.statistics.across_studies import compare_studies
from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.tables.load import load
from tesseral.study.errors import TesseralError
from tests.support.synthetic_study import info, table, trial_rows

SPLIT = {"setting.data.test": 12}


def study(name: str, arms: tuple[int, ...], rows=None, **changes):
    """A study of some of the arms of the synthetic study."""
    labels = tuple(f"lmax={arm}" for arm in arms)
    kept = [row | SPLIT | {"study": name} for row in rows or trial_rows(blocks=6) if row["arm"] in labels]
    given = {"name": name, "arms": labels, "baseline": labels[0], "blocks": 6} | changes
    return load(table(kept), [], [], info(**given))


def test_two_halves_of_a_study_give_the_changes_of_the_whole():
    whole = study("whole", (0, 1, 2, 3)).trials
    arms = compare_studies([study("one", (0, 1)), study("two", (2, 3))])
    assert [arm.label for arm in arms] == ["one: lmax=0", "one: lmax=1", "two: lmax=2", "two: lmax=3"]
    sampling = info(blocks=6).sampling
    expected = compare_arms(whole, "test.epsilon", [f"lmax={k}" for k in range(4)], "lmax=0", sampling)
    for arm, comparison in zip(arms[1:], expected, strict=True):
        assert arm.comparison.change == comparison.change
        assert arm.comparison.p_holm == pytest.approx(comparison.p_holm)
    assert arms[0].comparison is None
    assert arms[0].unpaired == ""


@pytest.mark.parametrize(
    ("changes", "row", "reason"),
    [
        ({"seed": 8}, {}, "the studies have other seeds"),
        ({}, {"data_hash": "e" * 64}, "the data are others"),
        ({}, {"setting.data.test": 13}, "the test splits have other sizes"),
        ({"folds": True}, {"block": None}, "blocks are split otherwise"),
    ],
)
def test_what_is_no_pair_is_said(changes, row, reason):
    rows = [each | SPLIT | {key: value for key, value in row.items() if value} for each in trial_rows(blocks=6)]
    other = study("two", (2,), rows, **changes)
    if "setting.data.test" in row:
        other = replace(other, trials=other.trials.with_columns(pl.lit(13).alias("setting.data.test")))
    arms = compare_studies([study("one", (0,)), other])
    assert arms[1].unpaired == reason
    assert arms[1].comparison is None
    assert arms[1].error.error.value == pytest.approx(0.26, rel=0.2)


def test_pairs_are_tested_on_one_test_set_and_hold_for_these_data():
    def on(name: str, path: str, arm: int):
        rows = [
            row | {"metric.md.epsilon": row["metric.test.epsilon"], "setting.data.tests.md": path}
            for row in trial_rows(blocks=6)
        ]
        return study(name, (arm,), rows, tests=("md",))

    one, same = on("one", "reference/hot.parquet", 0), on("two", "reference/hot.parquet", 2)
    other = on("three", "reference/cold.parquet", 2)
    arms = compare_studies([one, same, other], "md.epsilon")
    assert [arm.unpaired for arm in arms] == ["", "", "the test sets are others"]
    assert arms[1].comparison.change.low is None
    assert (arms[1].error_holds, arms[1].change_here) == ("for these data", "for these data")
    arms = compare_studies([one, same, other], "test.epsilon")
    assert [arm.unpaired for arm in arms] == ["", "", ""]
    assert arms[1].error_holds == "for new data of the same kind"


def test_copied_trials_are_the_same():
    arms = compare_studies([study("one", (0, 1)), study("two", (0,))])
    assert [arm.same for arm in arms] == [False, False, True]
    assert arms[2].comparison.change.value == 0


def test_searches_of_either_study_decide_the_units():
    tuned = study("tuned", (2,), searches=3)
    (_, arm) = compare_studies([study("plain", (0,)), tuned])
    assert (arm.comparison.unit, arm.comparison.units) == ("search", 3)


def test_mistakes_are_one_sentence():
    with pytest.raises(TesseralError, match="expected studies of one metric, or --metric"):
        compare_studies([study("one", (0,)), study("two", (1,), metric="test.l2_error")])
    with pytest.raises(TesseralError, match="got 'lmax=0'; there are: one: lmax=0; two: lmax=1"):
        compare_studies([study("one", (0,)), study("two", (1,))], baseline="lmax=0")
