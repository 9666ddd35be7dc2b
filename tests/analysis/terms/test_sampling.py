"""Units and the two intervals, against closed forms and SciPy."""

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.stats import mstats

from tesseral.analysis.terms.estimate import Estimate, bounds_here, interval, interval_here
from tesseral.analysis.terms.sampling import Sampling

VALUES = np.array([0.1, 0.4, -0.2, 0.3, 0.0, 0.6])
ROWS = pl.DataFrame({"block": range(6)})


def student(units, factor=1.0):
    """Student's interval about a mean of units, its half-width times a factor."""
    half = stats.t.ppf(0.975, len(units) - 1) * np.std(units, ddof=1) / np.sqrt(len(units)) * factor
    return np.mean(units) - half, np.mean(units) + half


def test_new_data_are_less_certain_by_the_factor_of_nadeau_and_bengio():
    sampling = Sampling(6, overlaps={"arm": 12 / 36, "base": 0.25})
    estimate = sampling.estimate(ROWS, VALUES, "arm", "base")
    # √(1/6 + 1/3) / √(1/6) = √3
    assert (estimate.low, estimate.high) == pytest.approx(student(VALUES, np.sqrt(3)), rel=1e-12)
    assert (estimate.here.low, estimate.here.high) == pytest.approx(student(VALUES), rel=1e-12)
    t = VALUES.mean() / (VALUES.std(ddof=1) / np.sqrt(6))
    assert estimate.p == pytest.approx(2 * stats.t.sf(t / np.sqrt(3), 5), rel=1e-10)
    assert estimate.here.p == pytest.approx(stats.ttest_1samp(VALUES, 0).pvalue, rel=1e-10)


def test_units_of_disjoint_data_have_one_interval():
    estimate = Sampling(6).estimate(ROWS, VALUES, "arm")
    assert (estimate.low, estimate.high, estimate.p) == (estimate.here.low, estimate.here.high, estimate.here.p)


def test_the_search_is_the_unit_of_tuned_arms():
    """Blocks 0 and 3 train what search 0 chose: three searches, three units."""
    estimate = Sampling(6, searches=3, overlaps={"arm": 0.1}).estimate(ROWS, VALUES, "arm")
    units = [(VALUES[k] + VALUES[k + 3]) / 2 for k in range(3)]
    assert (estimate.here.low, estimate.here.high) == pytest.approx(student(units), rel=1e-12)
    # A unit holds two blocks, so what all blocks share weighs twice: √(1/3 + 2·0.1) over √(1/3).
    assert (estimate.low, estimate.high) == pytest.approx(student(units, np.sqrt(1 + 3 * 0.2)), rel=1e-12)


@pytest.mark.parametrize("searches", [1, 2])
def test_too_few_searches_speak_for_the_settings_found(searches):
    sampling = Sampling(6, searches=searches)
    estimate = sampling.estimate(ROWS, VALUES, "arm")
    assert (estimate.low, estimate.high, estimate.p) == (None, None, None)
    assert (estimate.here.low, estimate.here.high) == pytest.approx(student(VALUES), rel=1e-12)
    assert sampling.here == "for the settings found"


def test_replicates_are_averaged_in_their_block():
    rows = pl.DataFrame({"block": [0, 0, 1, 1, 2, 2]})
    estimate = Sampling(3).estimate(rows, VALUES)
    assert (estimate.low, estimate.high) == pytest.approx(student(VALUES.reshape(3, 2).mean(axis=1)), rel=1e-12)
    conditional = Sampling(2).estimate(rows, VALUES)
    assert (conditional.low, Sampling(2).here) == (None, "for these splits")
    assert (conditional.here.low, conditional.here.high) == pytest.approx(student(VALUES), rel=1e-12)


def test_the_interquartile_mean_is_scipys_with_a_steadier_interval():
    """SciPy divides by half of √n, however many of the n units are left out; see the module."""
    values = np.append(VALUES, [9.0, 0.2])  # a start that failed
    estimate = Sampling(8, aggregate="iqm").estimate(pl.DataFrame({"block": range(8)}), values)
    assert estimate.value == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12)
    low, high = mstats.trimmed_mean_ci(values, limits=(0.25, 0.25), alpha=0.05)
    wider = np.sqrt(9 / (4 * 3)) / (1 / (0.5 * np.sqrt(8)))
    assert estimate.here.high - estimate.value == pytest.approx(wider * (high - low) / 2, rel=1e-10)
    assert estimate.value - estimate.here.low == pytest.approx(wider * (high - low) / 2, rel=1e-10)
    assert estimate.value < 0.3 < values.mean()


def test_both_intervals_are_written():
    estimate = Sampling(6, overlaps={"arm": 1 / 3}).estimate(ROWS, VALUES, "arm")
    assert interval(estimate, "%") == "0.20 % [−0.33, 0.73]"
    assert interval_here(estimate, "%") == "0.20 % [−0.10, 0.50]"
    assert bounds_here(estimate, signed=True) == "[−0.10, +0.50]"
    assert bounds_here(Estimate(1.0)) == ""


def test_transforming_keeps_p_and_turning_swaps_bounds():
    estimate = Sampling(6, overlaps={"arm": 0.5}).estimate(ROWS, VALUES, "arm")
    doubled, turned = estimate.transformed(lambda x: 2 * x), estimate.negative()
    assert (doubled.low, doubled.here.high, doubled.p) == (2 * estimate.low, 2 * estimate.here.high, estimate.p)
    assert (turned.low, turned.high) == (-estimate.high, -estimate.low)
    assert (turned.here.low, turned.here.high) == (-estimate.here.high, -estimate.here.low)
