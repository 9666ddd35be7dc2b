"""The frontier against a search by hand, and its shares against a closed form."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.frontier import DRAWS, frontier, on_frontier
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import info, table, trial_row


def test_the_frontier_is_that_of_a_search_by_hand():
    draw = np.random.default_rng(4)
    errors, costs = draw.integers(6, size=(2, 12, 50)).astype(float)  # with ties
    found = on_frontier(errors, costs)
    for k in range(50):
        points = list(zip(errors[:, k], costs[:, k], strict=True))
        by_hand = [not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points) for x, y in points]
        assert found[:, k].tolist() == by_hand


def test_shares_are_those_of_all_resamples():
    """Three blocks have 27 equally likely resamples: the share is counted over them."""
    errors = {0: (1.0, 1.0, 1.0), 1: (0.5, 0.6, 2.9), 2: (0.1, 0.1, 0.1)}
    rows = [
        trial_row(arm, block, 0) | {"metric.test.epsilon": value, "seconds": float(1 + arm)}
        for arm, values in errors.items()
        for block, value in enumerate(values)
    ]
    arms = ("lmax=0", "lmax=1", "lmax=2")
    tables = load(table(rows), [], [], info(arms=arms, blocks=3, replicates=1))
    found = frontier(tables, np.random.default_rng(0))
    assert set(found["cost"]) == {"seconds", "parameters"}  # no FLOPs are recorded
    by_time = {row["arm"]: row for row in found.filter(pl.col("cost") == "seconds").to_dicts()}
    assert [by_time[arm]["front"] for arm in arms] == [True, True, True]
    lower = np.mean([np.log(np.array(errors[1]))[list(drawn)].mean() < 0 for drawn in product(range(3), repeat=3)])
    assert 0 < lower < 1
    assert by_time["lmax=1"]["share"] == pytest.approx(lower, abs=3 * np.sqrt(lower * (1 - lower) / DRAWS))
    assert (by_time["lmax=0"]["share"], by_time["lmax=2"]["share"]) == (1.0, 1.0)
    assert by_time["lmax=1"]["error"] == pytest.approx(np.exp(np.log(errors[1]).mean()))
    again = frontier(tables, np.random.default_rng(0))
    assert again.equals(found)


def test_a_failed_start_takes_no_arm_of_interquartile_means_from_the_frontier():
    errors = {0: (1.0, 1.0, 1.0, 1.0, 1.0, 1.0), 1: (0.9, 0.91, 0.92, 0.93, 0.94, 9.0)}
    rows = [
        trial_row(arm, block, 0) | {"metric.test.epsilon": value, "seconds": float(1 + arm)}
        for arm, values in errors.items()
        for block, value in enumerate(values)
    ]
    for aggregate, front in (("mean", False), ("iqm", True)):
        given = info(arms=("lmax=0", "lmax=1"), blocks=6, replicates=1, aggregate=aggregate)
        found = frontier(load(table(rows), [], [], given), np.random.default_rng(0))
        row = found.filter(arm="lmax=1", cost="seconds").to_dicts()[0]
        assert row["front"] is front
    assert row["error"] == pytest.approx(stats.gmean((0.91, 0.92, 0.93, 0.94)))
    once = (5 / 6) ** 6 + (5 / 6) ** 5  # the chance that the failed start is drawn at most once
    assert row["share"] == pytest.approx(once, abs=3 * np.sqrt(once * (1 - once) / DRAWS))


def test_each_trial_counts_with_the_network_that_its_search_chose():
    """Arm 1 is smaller than arm 0 by one of three searches alone; its errors are higher, so that size decides."""
    chosen = (50_000, 100_000, 120_000)
    rows = [
        trial_row(arm, block, 0)
        | {"metric.test.epsilon": 1.0 + arm, "parameters": chosen[block % 3] if arm else 91_000, "seconds": None}
        for arm in range(2)
        for block in range(6)
    ]
    tables = load(table(rows), [], [], info(arms=("lmax=0", "lmax=1"), blocks=6, replicates=1, searches=3))
    found = frontier(tables, np.random.default_rng(0)).filter(arm="lmax=1", cost="parameters").to_dicts()[0]
    assert found["value"] == pytest.approx(stats.gmean(chosen))
    assert found["front"]  # 84,343 on average
    smaller = np.mean([stats.gmean(drawn) < 91_000 for drawn in product(chosen, repeat=3)])
    assert 0 < smaller < 1
    assert found["share"] == pytest.approx(smaller, abs=3 * np.sqrt(smaller * (1 - smaller) / DRAWS))


def test_what_matching_left_over_decides_nothing():
    """Parameters within 1 %, and errors that fall with the arm: the best arm alone is on the frontier."""
    rows = [
        trial_row(arm, block, 0)
        | {"metric.test.epsilon": 1.0 - 0.1 * arm, "parameters": (90_000, 90_090, 90_800)[arm], "seconds": 1.0 + arm}
        for arm in range(3)
        for block in range(6)
    ]
    arms = ("lmax=0", "lmax=1", "lmax=2")
    found = frontier(load(table(rows), [], [], info(arms=arms, blocks=6)), np.random.default_rng(0)).sort("arm")
    by_size = found.filter(cost="parameters")
    assert by_size["front"].to_list() == [False, False, True]
    assert by_size["share"].to_list() == [0.0, 0.0, 1.0]
    assert found.filter(cost="seconds")["front"].to_list() == [True, True, True]
    assert on_frontier(np.ones((2, 1)), np.array([[0.0], [0.005]]), 0.01).all()  # equal in both


def test_few_blocks_have_no_share_and_one_arm_no_frontier():
    rows = [trial_row(arm, block, 0) | {"metric.test.epsilon": 1.0 + arm} for arm in range(2) for block in range(2)]
    given = {"arms": ("lmax=0", "lmax=1"), "blocks": 6, "replicates": 1}
    assert frontier(load(table(rows), [], [], info(**given)), np.random.default_rng(0))["share"].null_count() == 4
    alone = load(table(rows[:2]), [], [], info(**given))
    assert frontier(alone, np.random.default_rng(0)).is_empty()
