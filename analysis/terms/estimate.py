"""An estimate: a mean over independent units, its 95 % interval, and the p-value of a mean of zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from tesseral.study.design.allocation import CONFIDENCE
from tesseral.study.errors import TesseralError

SIGNIFICANCE = 0.05
"""A comparison is decided when its Holm-corrected p-value is below this."""

FEWEST_UNITS = 3
"""Planned blocks from which on the block is the unit, and units from which on there is an interval."""


@dataclass(frozen=True)
class Estimate:
    """A mean over units, its 95 % interval, and the p-value of a mean of zero; null with too few units."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and does not hold zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def t_estimate(units: Sequence[float] | np.ndarray) -> Estimate:
    """Mean of independent units with Student's 95 % interval; of fewer than three units the mean alone.

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
