"""Whether the benefit of hidden features depends on the order of the output: slopes, tests and sentences."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.report import summary
from tesseral.analysis.report.findings import findings
from tesseral.analysis.statistics.order_trend import trend_sentences, trends
from tesseral.analysis.statistics.paired import holm
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import StudyTables
from tests.support.synthetic_study import BENEFIT, TARGETS, crossed_rows, crossed_tables, label

ORDERS = {"energy": [0], "dipole": [1], "quadrupole": [2], "density": [0, 1, 2, 3]}  # l = 4 is out of reach of lmax = 0


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> StudyTables:
    return crossed_tables(tmp_path_factory.mktemp("crossed"))


def expected(lmax: int) -> list[float]:
    """The slope of each block, by an independent regression over every output of each pair."""
    metric, by_block = "metric.test.relative_error", {}
    rows = {(row["arm"], row["block"], row["replicate"]): row for row in crossed_rows()}
    for block in range(4):
        for replicate in range(2):
            orders, ratios = [], []
            for quantity in TARGETS:
                arm, base = (rows[label(k, quantity), block, replicate] for k in (lmax, 0))
                for order in ORDERS[quantity]:
                    name = f"{metric}.l{order}" if quantity == "density" else metric
                    orders.append(order)
                    ratios.append(math.log(arm[name] / base[name]))
            by_block.setdefault(block, []).append(stats.linregress(orders, ratios).slope)
    return [float(np.mean(slopes)) for slopes in by_block.values()]


def test_a_trend_is_the_slope_over_outputs_averaged_within_blocks(tables):
    tested = trends(tables)
    assert [(trend.hidden, trend.baseline, trend.where) for trend in tested] == [
        ("lmax=1", "lmax=0", ""),
        ("lmax=2", "lmax=0", ""),
    ]
    tests = []
    for lmax, trend in enumerate(tested, start=1):
        slopes = expected(lmax)
        test = stats.ttest_1samp(slopes, 0.0)
        low, high = test.confidence_interval(0.95)
        tests.append(float(test.pvalue))
        assert trend.orders == (0, 1, 2, 3)
        assert trend.pairs == 8
        values = [100 * math.expm1(value) for value in (np.mean(slopes), low, high)]
        assert [trend.change.value, trend.change.low, trend.change.high] == pytest.approx(values)
        assert trend.change.p == pytest.approx(test.pvalue)
    assert [trend.p_holm for trend in tested] == pytest.approx(holm(tests))


def test_a_benefit_that_grows_is_told_and_one_that_does_not_is_undecided(tmp_path, monkeypatch):
    for order in range(5):
        monkeypatch.setitem(BENEFIT, order, (1.0, 0.9, 0.9 * 0.8**order))
    tables = crossed_tables(tmp_path)
    flat, grown = trends(tables)
    assert grown.change.value == pytest.approx(-20.0, abs=2.0)
    assert abs(flat.change.value) < 3.0
    (told,) = [sentence for sentence in findings(analyse(tables)) if "From one order l of the output" in sentence]
    assert told.startswith(
        "From one order l of the output to the next (l = 0, 1, 2, 3; 8 pairs), the ratio of an arm’s relative error to "
        "that of lmax=0 changes by"
    )
    assert "for lmax=1 (undecided" in told
    assert told.endswith("for lmax=2 (the benefit grows with l).")
    shrunk = replace(grown, change=replace(grown.change, value=2.0, low=1.0, high=3.0))
    assert trend_sentences([shrunk])[0].endswith("(the benefit shrinks with l).")


def test_what_the_interval_alone_excludes_is_undecided_after_holm(tables):
    one = replace(trends(tables)[1], p_holm=0.06)
    assert one.change.excludes_zero
    assert "(undecided after Holm’s correction)" in trend_sentences([one])[0]
    assert trend_sentences([replace(one, p_holm=None)]) == []


def test_many_trends_are_counted(tables):
    one = trends(tables)[1]
    many = [replace(one, where=f"layers={layers}") for layers in range(5)]
    assert len(trend_sentences(many[:4])) == 4
    assert "; layers=3)" in trend_sentences(many[:4])[3]
    assert trend_sentences(many) == [
        "In 5 comparisons, it was tested whether the benefit of hidden features grows or shrinks with the order l of "
        "the output: it grows in 5."
    ]
    mixed = [*many, replace(one, where="layers=9", p_holm=0.06), replace(one, where="layers=10", p_holm=0.5)]
    assert trend_sentences(mixed)[0].endswith(": it grows in 5 and is undecided in 2.")


def test_pairs_that_lack_an_output_are_left_out(tmp_path):
    rows = [row for row in crossed_rows() if (row["arm"], row["block"]) != (label(2, "dipole"), 3)]
    first, second = trends(crossed_tables(tmp_path, rows))
    assert (first.pairs, second.pairs) == (8, 6)


def test_orders_out_of_reach_count_in_no_trend(tmp_path):
    """Scalars reach no order above 0 here: one order is no trend."""
    rows = [
        row | {"unreachable": "1x1o+1x2e+1x3o+1x4e"}
        for row in crossed_rows()
        if row["factor.target.quantity"] == "density"
    ]
    assert trends(crossed_tables(tmp_path, rows)) == ()


def test_a_study_of_one_order_has_no_trend(tmp_path):
    rows = [row for row in crossed_rows() if row["factor.target.quantity"] == "dipole"]
    assert trends(crossed_tables(tmp_path, rows)) == ()


def test_json_holds_them(tables):
    (first, second) = summary.to_dict(analyse(tables))["trends"]
    assert first["hidden"] == "lmax=1"
    assert second["change"]["value"] == trends(tables)[1].change.value
