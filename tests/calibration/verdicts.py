"""How often simulated studies cover the truth, and how often they claim a difference.

A cell of 20,000 studies takes too long with one call an interval, so intervals are computed for all studies at once, by
the formulas of `tesseral.analysis.terms.sampling`. `disagreement` holds them against the project's own function, which
reads tables of trials.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special

from tesseral.analysis.statistics.comparisons.outliers import FAR
from tesseral.analysis.statistics.comparisons.paired import Comparison, compare_arms
from tesseral.analysis.terms.estimate import SIGNIFICANCE
from tesseral.analysis.terms.sampling import Sampling

CONFIDENCE = 0.95
CUT = 0.25
"""Share of the units that the interquartile mean leaves out at either end."""


@dataclass(frozen=True)
class Intervals:
    """Student's 95 % intervals of many studies at once; each array has the shape (studies, comparisons)."""

    mean: np.ndarray
    half: np.ndarray
    p: np.ndarray

    def covers(self, truth: float | np.ndarray = 0.0) -> np.ndarray:
        """Which intervals cover the truth, of shape (studies, comparisons)."""
        return np.abs(self.mean - truth) <= self.half

    def coverage(self, truth: float = 0.0) -> float:
        """Intervals that cover the truth, percent."""
        return 100 * float(self.covers(truth).mean())

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


def intervals(units: np.ndarray, overlap: float = 0.0, *, iqm: bool = False) -> Intervals:
    """Intervals of the mean, or of the interquartile mean, over the last axis.

    :param units: of shape (studies, comparisons, units).
    :param overlap: n_test/n_train times the number of blocks in a unit; 0 for these data.
    """
    number = units.shape[-1]
    cut = int(CUT * number) if iqm else 0
    ordered = np.sort(units, axis=-1)
    mean = ordered[..., cut : number - cut].mean(axis=-1)
    # Winsorised: what is left out counts as the nearest that is not. Without a cut this is the standard error.
    inner = np.clip(ordered, ordered[..., [cut]], ordered[..., [number - 1 - cut]])
    kept = number - 2 * cut
    factor = np.sqrt((number + 1) / (kept * (kept - 1))) if iqm else 1 / np.sqrt(number)
    error = inner.std(axis=-1, ddof=1) * factor * np.sqrt(1 + number * overlap)
    freedom = kept - 1
    with np.errstate(divide="ignore"):
        p = 2 * special.stdtr(freedom, -np.abs(mean) / error)
    return Intervals(mean, special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error, p)


def against_first(logs: np.ndarray) -> np.ndarray:
    """Log ratios of every arm to the first, of logarithms of errors with the arms along the second axis."""
    return logs[:, 1:] - logs[:, :1]


def by_search(logs: np.ndarray, searches: int) -> np.ndarray:
    """Means over the blocks of each search: block b trains the setting of search b mod `searches`.

    :param logs: of shape (…, blocks).
    :returns: of shape (…, searches).
    """
    return np.stack([logs[..., search::searches].mean(axis=-1) for search in range(searches)], axis=-1)


def outlying(logs: np.ndarray) -> np.ndarray:
    """Which arms have an outlying trial, as `comparisons.outliers` says; of shape (studies, arms).

    :param logs: logarithms of errors, of shape (studies, arms, blocks).
    """
    rest = logs
    for axis in (2, 1, 2):
        rest = rest - np.median(rest, axis=axis, keepdims=True)
    size = np.abs(rest)
    spread = np.maximum(np.median(size, axis=2, keepdims=True), np.median(size, axis=(1, 2), keepdims=True))
    return (rest > FAR * 1.4826 * spread).any(axis=2)


def disagreement(found: Intervals, logs: np.ndarray, sampling: Sampling, *, here: bool = False) -> float:
    """The largest difference between intervals and those of the project, over the first studies.

    :param found: of all studies.
    :param logs: logarithms of the errors of the first studies, of shape (studies, arms, blocks) or (…, replicates).
    :param sampling: how they were sampled; see `names` for the arms.
    :param here: whether `found` are intervals for these data.
    :returns: of bounds and p-values, the logarithm of a ratio counting as itself.
    """
    largest = 0.0
    for number, study in enumerate(logs):
        for arm, comparison in enumerate(compare(study, sampling)):
            bounds = comparison.change.here if here else comparison.change
            mean, half, p = (float(values[number, arm]) for values in (found.mean, found.half, found.p))
            low, high = np.log1p(bounds.low / 100), np.log1p(bounds.high / 100)
            claimed = (comparison.p_holm_here if here else comparison.p_holm) < SIGNIFICANCE
            assert claimed == found.claimed[number, arm]
            largest = max(largest, abs(low - mean + half), abs(high - mean - half), abs(bounds.p - p))
    return largest


def compare(logs: np.ndarray, sampling: Sampling) -> list[Comparison]:
    """The project's comparison of one study's arms with the first.

    :param logs: logarithms of errors, of shape (arms, blocks) or (arms, blocks, replicates).
    """
    arms = names(len(logs))
    return compare_arms(trials(logs), "test.epsilon", arms, arms[0], sampling)


def names(arms: int) -> list[str]:
    """Names of the arms of simulated studies."""
    return [f"arm {number}" for number in range(arms)]


def trials(logs: np.ndarray) -> pl.DataFrame:
    """The trials table of one study.

    :param logs: logarithms of errors, of shape (arms, blocks) or (arms, blocks, replicates).
    """
    logs = logs.reshape(*logs.shape[:2], -1)
    arm, block, replicate = np.indices(logs.shape).reshape(3, -1)
    return pl.DataFrame(
        {
            "trial": [f"{number:064x}" for number in range(logs.size)],
            "arm": [f"arm {number}" for number in arm],
            "stage": "confirm",
            "state": "complete",
            "block": block,
            "replicate": replicate,
            "metric.test.epsilon": np.exp(logs.ravel()),
        }
    )
