"""The precision to expect: half-widths and powers against closed forms, tables and simulations."""

from math import exp, log, log1p, sqrt

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.statistics.comparisons.precision import half_width, paired_spread, pooled, power, units_to_tell
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import info, table, trial_rows


@pytest.mark.parametrize("overlap", [0.0, 1 / 3])
def test_the_half_width_is_that_of_the_interval(overlap):
    n, s = 6, 0.1
    error = s * sqrt(1 / n + overlap)
    assert half_width(s, n, overlap) == pytest.approx(100 * (exp(stats.t.interval(0.95, n - 1, 0, error)[1]) - 1))
    assert half_width(s, 2, overlap) is None


@pytest.mark.parametrize(("effect", "units"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_units_are_those_of_the_tables_of_the_paired_t_test(effect, units):
    """Faul et al., Behav. Res. Methods 39, 175 (2007): G*Power, two-sided at 5 %, power 0.8."""
    assert units_to_tell(100 * (exp(effect) - 1), spread=1.0) == units
    assert power(effect, 1.0, units) >= 0.8 > power(effect, 1.0, units - 1)


def test_the_power_is_that_of_simulated_studies():
    draw, n, overlap = np.random.default_rng(5), 8, 0.25
    # Units of a common part, which overlapping splits share, and an own part: their mean varies as 1/n + overlap.
    own, common = draw.standard_normal((40_000, n)), sqrt(overlap) * draw.standard_normal((40_000, 1))
    units = 1.5 + own + common
    t = units.mean(1) / (units.std(1, ddof=1) * sqrt(1 / n + overlap))
    found = (t > stats.t.ppf(0.975, n - 1)).mean()
    assert found == pytest.approx(power(1.5, 1.0, n, overlap), abs=3 * sqrt(0.25 / 40_000))


def test_no_number_of_blocks_tells_a_small_change_for_new_data():
    # With many blocks the half-width is 1.96·s·√overlap, and telling a change takes 2.8 of s·√overlap.
    s, overlap = 0.1, 0.25
    bound = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * s * sqrt(overlap)
    assert units_to_tell(100 * (exp(0.99 * bound) - 1), s, overlap) is None
    assert units_to_tell(100 * (exp(1.2 * bound) - 1), s, overlap) is not None
    assert units_to_tell(5.0, 0.0) == 3


def test_the_spread_is_that_of_log_ratios_between_blocks():
    assert pooled([np.array([0.0, 2.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0]), np.array([9.0, 1.0])]) == pytest.approx(
        sqrt(8 / 5)
    )
    assert pooled([np.array([1.0, 2.0])]) is None
    rows = trial_rows(arms=2, blocks=5, replicates=1)
    tables = load(table(rows), [], [], info(arms=("lmax=0", "lmax=1"), blocks=5, replicates=1))
    errors = {(row["arm"], row["block"]): row["metric.test.epsilon"] for row in rows}
    ratios = [log(errors["lmax=1", b] / errors["lmax=0", b]) for b in range(5)]
    assert paired_spread(tables) == pytest.approx(np.std(ratios, ddof=1))
    (comparison,) = compare_arms(tables.trials, "test.epsilon", tables.study.arms, "lmax=0", tables.study.sampling)
    change = comparison.change
    assert change is not None
    assert change.here is not None
    above = log1p(change.here.high / 100) - log1p(change.value / 100)
    assert half_width(paired_spread(tables), 5) == pytest.approx(100 * (exp(above) - 1))
