"""The number of units that decides a step, against power tables and simulated verdicts."""

from math import log1p

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.further_units import MOST_MORE, chance_to_decide, further_units
from tesseral.analysis.statistics.comparisons.precision import power

SPREAD, MARGIN, LEVEL = 0.053, log1p(0.02), 0.05 / 3


def seen(mean: float, spread: float, number: int) -> np.ndarray:
    """Units of exactly this mean and standard deviation."""
    units = np.random.default_rng(1).standard_normal(number)
    return mean + spread * (units - units.mean()) / units.std(ddof=1)


def decided(mean: float, number: int, overlap: float, *, both: bool, studies: int = 20_000) -> float:
    """Share of simulated studies of three steps that SciPy's t tests decide for a step."""
    draw = np.random.default_rng(2)
    units = draw.normal(0, SPREAD, (studies, number))
    # What all blocks of a study share, beyond what its splits vary.
    units += mean + draw.normal(0, SPREAD * np.sqrt(overlap), (studies, 1))
    wider = np.sqrt(1 / number + overlap) * units.std(axis=1, ddof=1)
    p_rise, p_fall = (stats.t.sf(side / wider, number - 1) for side in (MARGIN - units.mean(1), MARGIN + units.mean(1)))
    different = 2 * stats.t.sf(np.abs(units.mean(axis=1)) / wider, number - 1) < LEVEL
    return float((different | ((np.maximum(p_rise, p_fall) if both else p_rise) < LEVEL)).mean())


@pytest.mark.parametrize("change", [-5.0, -1.4, -1.0, -0.5, 0.0, 0.5, 1.0, 1.4, 5.0])
@pytest.mark.parametrize("both", [True, False])
def test_that_many_decide_four_studies_of_five(change, both):
    """Four standard errors of 20,000 studies are 1.1 %."""
    mean = log1p(change / 100)
    in_all = 6 + further_units(seen(mean, SPREAD, 6), MARGIN, LEVEL, both=both)
    assert decided(mean, in_all, 0.0, both=both) > 0.785
    assert decided(mean, in_all - 1, 0.0, both=both) < 0.815
    fewer = np.arange(7, in_all)
    assert not (chance_to_decide(mean, SPREAD, fewer, MARGIN, LEVEL, both=both) >= 0.8).any()


@pytest.mark.parametrize("both", [True, False])
def test_the_chance_is_that_of_simulated_studies_that_share_data(both):
    for number, mean, overlap in ((6, -0.1, 0.1), (20, -0.1, 0.3), (50, 0.0, 0.01)):
        chance = chance_to_decide(mean, SPREAD, np.array([number]), MARGIN, LEVEL, overlap, both=both)[0]
        assert chance == pytest.approx(decided(mean, number, overlap, both=both), abs=0.015)


def test_without_a_margin_it_is_the_power_of_the_t_test():
    units = seen(0.6, 1.0, 8)
    # d = 0.6 at 5 % and power 0.8 needs 24 pairs (Cohen 1988; G*Power 3.1: 24, power 0.803).
    assert units.size + further_units(units, 1e-3, 0.05, both=True) == 24
    chance = chance_to_decide(0.6, 1.0, np.array([5, 24, 300]), 1e-3, 0.05, 0.1, both=True)
    assert chance == pytest.approx([power(0.6, 1.0, n, 0.1) for n in (5, 24, 300)], abs=3e-3)


def test_some_differences_no_number_tells():
    units = seen(0.6, 1.0, 8)
    assert further_units(units, 0.1, 0.05, 1.0, both=True) is None  # the interval for new data stays ±1.96·s
    assert further_units(units - 0.6, 1e-3, 0.05, both=True) is None
    assert further_units(np.full(8, 0.01), MARGIN, 0.05, both=True) is None  # no spread is known
    assert MOST_MORE == 1000
