"""The lowest error of n proposals against enumeration and simulation, and where arms change order."""

from itertools import product

import numpy as np
import polars as pl
import pytest

from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.searches.search_value import (
    expected_best,
    order_changes,
    order_sentence,
    search_values,
)
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.search import SearchRecords
from tests.support.synthetic_study import info, table, trial_row


def test_it_is_the_mean_and_quantile_over_all_draws_with_ties():
    values = [0.5, 0.4, 0.4, 0.7]
    best = expected_best(values, 4, 3)
    for n, expected, low, high in best.iter_rows():
        lowest = np.array([min(draw) for draw in product(values, repeat=n)])
        assert expected == pytest.approx(lowest.mean())
        assert (low, high) == tuple(np.quantile(lowest, (0.1, 0.9), method="inverted_cdf"))


def test_proposals_without_an_error_are_never_the_lowest():
    values, inf = [0.5, 0.4, 0.7], float("inf")
    best = expected_best(values, 5, 3)
    for n, expected, low, high in best.iter_rows():
        lowest = np.array([min(draw) for draw in product([*values, inf, inf], repeat=n)])
        lowest = lowest[np.isfinite(lowest)]
        assert expected == pytest.approx(lowest.mean())
        assert (low, high) == tuple(np.quantile(lowest, (0.1, 0.9), method="inverted_cdf"))


def test_many_proposals_agree_with_a_simulation():
    draw = np.random.default_rng(3)
    values = np.exp(draw.standard_normal(200))
    last = expected_best(values, 200, 10).row(-1, named=True)
    lowest = draw.choice(values, (200_000, 10)).min(axis=1)
    assert last["expected"] == pytest.approx(lowest.mean(), abs=4 * lowest.std() / 200_000**0.5)


def test_one_value_is_its_own_expectation():
    assert expected_best([0.3], 1, 2).rows() == [(1, 0.3, 0.3, 0.3), (2, 0.3, 0.3, 0.3)]


def curves(**expected: list[float]) -> pl.DataFrame:
    rows = [(arm, n, value) for arm, values in expected.items() for n, value in enumerate(values, start=1)]
    return pl.DataFrame(rows, schema={"arm": pl.String, "n": pl.Int64, "expected": pl.Float64}, orient="row")


def test_arms_change_order_where_their_curves_cross():
    values = curves(a=[0.9, 0.8, 0.7, 0.6], b=[1.0, 0.85, 0.65, 0.5], c=[2.0, 1.9, 1.8])
    assert order_changes(values, ("a", "b", "c", "none")) == [("b", "a", 2)]
    assert order_sentence(values, ("a", "b", "c")) == (
        "Arms change order with the number of proposals: a is lower than b up to 2, and higher at the end. This is not "
        "tested."
    )
    assert order_sentence(values, ("a", "c")) == ""


def test_the_searches_of_a_study_have_them(tuned, tuned_results, tuned_page, results):
    values = search_values(tuned)
    assert values["arm"].unique(maintain_order=True).to_list() == ["lmax=0", "lmax=1"]
    first = values.filter(pl.col("arm") == "lmax=0")
    assert first["expected"][0] == pytest.approx(np.mean([0.9, 0.7, 0.8, 0.75]))
    assert first["expected"].is_sorted(descending=True)
    assert to_dict(tuned_results)["search"]["expected"] == values.to_dicts()
    assert "The mean lowest validation error of n proposals" in tuned_page
    assert search_values(results.tables).height == 0


def test_searches_on_different_splits_are_averaged_and_never_pooled(tuned):
    """Three searches whose proposals all have one error: no proposal lowers it, whatever the splits add."""
    rows = [
        trial_row(0, search, 0, stage="search", trial=f"{search}{number}".ljust(64, "e"), proposal=number)
        | {"metric.validation.l2_error": error}
        for search, error in enumerate((0.88, 1.0, 1.12))
        for number in range(5 if search else 4)
    ]
    names = [(row["arm"], row["block"], row["proposal"], row["trial"]) for row in rows]
    made = pl.DataFrame(names, schema=tuned.search.proposals.schema, orient="row")
    study = info(arms=("lmax=0",), search=tuned.study.search, searches=3, objectives=("validation.l2_error",))
    values = search_values(load(table(rows), [], [], study, SearchRecords(made)))
    assert values["n"].to_list() == [1, 2, 3, 4]
    for column in ("expected", "low", "high"):
        assert values[column].to_list() == pytest.approx([1.0] * 4)
