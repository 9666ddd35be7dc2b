"""An estimate: a mean over independent units with its 95 % interval and the p-value of a zero mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from tesseral.study.design.allocation import CONFIDENCE
from tesseral.study.errors import TesseralError

SIGNIFICANCE = 0.05
"""A comparison is significant if its Holm-corrected p-value is below this."""

FEWEST_UNITS = 3
"""Smallest number of units that gives an interval, and of planned blocks that makes the block the unit."""


@dataclass(frozen=True)
class Estimate:
    """A mean over units, its 95 % interval, and the two-sided p-value of a zero mean; None with too few units."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero is outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def t_estimate(units: Sequence[float] | np.ndarray) -> Estimate:
    """Mean of independent units with Student's 95 % interval, x̄ ± t(0.975, n − 1)·s/√n (Biometrika 6, 1, 1908).

    :param units: one value for each unit, close to normally distributed. Fewer than three give the mean only.
    :raises TesseralError: if there is no unit.
    """
    values = np.asarray(units, dtype=float)
    if values.size == 0:
        raise TesseralError("expected at least one value to average, got none")
    mean = float(values.mean())
    if values.size < FEWEST_UNITS:
        return Estimate(mean)
    error = float(values.std(ddof=1)) / sqrt(values.size)
    if error == 0.0:
        return Estimate(mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    freedom = values.size - 1
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return Estimate(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, freedom)))
