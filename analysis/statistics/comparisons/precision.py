"""The precision of a paired change before it is measured: from the spread that its units are expected to have.

With n units whose log ratios have the standard deviation s, the half-width of the 95 % interval of a change is

    100·(exp(t(0.975, n − 1)·s·√(1/n + overlap)) − 1)  percent,

with overlap = n_test/n_train for new data of the same kind and 0 for these data: see `terms.sampling`. The chance with
which the two-sided t test tells a true change d of the log ratio, its power, follows from the noncentral t distribution
with n − 1 degrees of freedom and the parameter d / (s·√(1/n + overlap)) (Cohen, Statistical Power Analysis, 1988).
"""

from bisect import bisect_left
from collections.abc import Iterable
from math import expm1, log1p, sqrt

import numpy as np
import scipy
from scipy import special

from tesseral.analysis.statistics.comparisons.paired import log_ratios
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import FEWEST_UNITS, SIGNIFICANCE
from tesseral.study.design.allocation import CONFIDENCE

POWER = 0.8
"""Chance of telling a change for which blocks are counted."""

MOST = 1000
"""More units than this are not counted."""


def half_width(spread: float, units: int, overlap: float = 0.0) -> float | None:
    """Half-width of the 95 % interval of a change, percent; the larger one, upwards. None below three units.

    :param spread: standard deviation of the units' log ratios.
    :param units: their number.
    :param overlap: n_test/n_train of units that are splits of one data set; 0 for these data alone.
    """
    if units < FEWEST_UNITS:
        return None
    t = float(special.stdtrit(units - 1, (1 + CONFIDENCE) / 2))
    return 100 * expm1(t * spread * sqrt(1 / units + overlap))


def power(effect: float, spread: float, units: int, overlap: float = 0.0, level: float = SIGNIFICANCE) -> float:
    """The chance with which the two-sided t test tells a mean from zero, on the side where it lies.

    :param effect: size of the mean, above zero.
    :param spread: standard deviation of the units, above zero.
    :param units: their number, at least two.
    :param overlap: as in `half_width`.
    :param level: significance of the test.
    """
    critical = float(special.stdtrit(units - 1, 1 - level / 2))
    return float(scipy.stats.nct.sf(critical, units - 1, effect / (spread * sqrt(1 / units + overlap))))


def units_to_tell(change: float, spread: float, overlap: float = 0.0) -> int | None:
    """The smallest number of units, three or more, that tells a change of this size with a chance of `POWER`.

    :param change: of the error, percent, upwards.
    :param spread: standard deviation of the units' log ratios.
    :param overlap: as in `half_width`.
    :returns: None if no number up to `MOST` does.
    """
    if spread == 0:
        return FEWEST_UNITS
    effect, numbers = log1p(change / 100), range(FEWEST_UNITS, MOST + 1)
    place = bisect_left(numbers, True, key=lambda units: power(effect, spread, units, overlap) >= POWER)
    return numbers[place] if place < len(numbers) else None


def paired_spread(tables: StudyTables) -> float | None:
    """The standard deviation of log ratios between blocks, pooled over the arms that are compared with a baseline.

    √(Σ(n_i − 1)s_i² / Σ(n_i − 1)) over comparisons i of n_i blocks, of which replicates are averaged.

    :param tables: of a study.
    :returns: None if no comparison has three blocks.
    """
    study = tables.study
    pairs = [(arm, base) for arm in study.arms if (base := study.baseline_of(arm)) not in (None, arm)]
    return pooled(_blocks(tables, arm, base) for arm, base in pairs if base is not None)


def pooled(samples: Iterable[np.ndarray]) -> float | None:
    """Standard deviation about each sample's own mean, over the samples of three or more values; None without one."""
    large = [sample for sample in samples if sample.size >= FEWEST_UNITS]
    if not large:
        return None
    squares = sum(float(((sample - sample.mean()) ** 2).sum()) for sample in large)
    return sqrt(squares / sum(sample.size - 1 for sample in large))


def _blocks(tables: StudyTables, arm: str, baseline: str) -> np.ndarray:
    """Log ratio of each block."""
    rows = log_ratios(tables.trials, tables.study.metric, arm, baseline)
    return tables.study.sampling.units(rows, rows["ratio"].to_numpy(), "block")
