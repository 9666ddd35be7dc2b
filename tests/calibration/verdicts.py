"""How often simulated studies cover the truth, and how often they claim a difference.

A cell of 20,000 studies takes too long with one call an interval, so intervals are computed for all studies at once.
The test of this module holds them against the project's own function.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tesseral.analysis.terms.estimate import SIGNIFICANCE

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Intervals:
    """Student's 95 % intervals of many studies at once; each array has the shape (studies, comparisons)."""

    mean: np.ndarray
    half: np.ndarray
    p: np.ndarray

    def coverage(self, truth: float = 0.0) -> float:
        """Intervals that cover the truth, percent."""
        return 100 * float((np.abs(self.mean - truth) <= self.half).mean())

    @property
    def claimed(self) -> np.ndarray:
        """Which comparisons are claimed after Holm's correction over those of their study."""
        ascending = np.sort(self.p, axis=1)
        levels = SIGNIFICANCE / np.arange(self.p.shape[1], 0, -1)
        several = np.logical_and.accumulate(ascending < levels, axis=1).sum(axis=1, keepdims=True)
        return self.p.argsort(axis=1).argsort(axis=1) < several

    @property
    def any_claim(self) -> float:
        """Studies that claim any difference, percent."""
        return 100 * float(self.claimed.any(axis=1).mean())


def intervals(units: np.ndarray, overlap: float = 0.0) -> Intervals:
    """Intervals of the mean over the last axis.

    :param units: of shape (studies, comparisons, units).
    :param overlap: n_test/n_train times the number of blocks in a unit; 0 for these data.
    """
    number = units.shape[-1]
    error = units.std(axis=-1, ddof=1) * np.sqrt(1 / number + overlap)
    mean = units.mean(axis=-1)
    with np.errstate(divide="ignore"):
        p = 2 * special.stdtr(number - 1, -np.abs(mean) / error)
    return Intervals(mean, special.stdtrit(number - 1, (1 + CONFIDENCE) / 2) * error, p)


def against_first(logs: np.ndarray) -> np.ndarray:
    """Log ratios of every arm to the first, of logarithms of errors with the arms along the second axis."""
    return logs[:, 1:] - logs[:, :1]


def by_search(logs: np.ndarray, searches: int) -> np.ndarray:
    """Means over the blocks of each search: block b trains the setting of search b mod `searches`.

    :param logs: of shape (…, blocks).
    :returns: of shape (…, searches).
    """
    return np.stack([logs[..., search::searches].mean(axis=-1) for search in range(searches)], axis=-1)
