"""What the figures of the calibration may be, and how they are written.

A figure is a share of simulated studies, so it has a Monte Carlo error: of 20,000 studies a share of 5 % has a standard
error of 0.15 %. It holds if it misses its threshold by at most three of them (`tests.benchmarks.figures.CHANCE`), so
that it does not fail by chance: what is shown of a family-wise error is that it lies below 6 %, and of a coverage over
two or three comparisons that it lies between 92.7 and 97.3 %. The JSON holds the error beside the value.
"""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.terms.sampling import Sampling
from tests.benchmarks.figures import Figure
from tests.calibration.verdicts import Intervals, disagreement

SEED = 15
COVERAGE = (93.0, 97.0)
"""What coverage is to lie between, percent."""
CLAIMS = 5.5
"""Most studies of equal arms that may claim any difference, percent."""
FROM = 6
"""Blocks from which on this is to hold."""
SIZES = ((36, 8, 12), (800, 100, 100))
"""Structures to train on, for validation and to test on."""
CHECKED = 12
"""Studies of a cell whose numbers are held against those of the project's own function."""
EXACT = 1e-9
"""Largest difference from them."""


def share(what: str, said: np.ndarray, most: float | None = None, least: float | None = None) -> Figure:
    """How often something is said, percent.

    :param said: true or false, of shape (studies, …). What is said in one study is not independent, so the error is
        that of the mean of studies.
    :param most: what it may be at most.
    :param least: what it may be at least.
    """
    studies = np.asarray(said, dtype=float).reshape(len(said), -1).mean(axis=1)
    error = studies.std(ddof=1) / np.sqrt(studies.size) if studies.size > 1 else 0.0
    return Figure(what, 100 * float(studies.mean()), "%", most, least, 100 * float(error))


def coverage(what: str, found: Intervals, truth: float | np.ndarray = 0.0, *, holds: bool = True) -> Figure:
    """The coverage of intervals, which is to hold within `COVERAGE`."""
    least, most = COVERAGE if holds else (None, None)
    return share(f"coverage, {what}", found.covers(truth), most, least)


def claims(what: str, found: Intervals, *, holds: bool = True) -> Figure:
    """The share of studies that claim anything, which is to hold below `CLAIMS`."""
    return share(f"any claim, {what}", found.claimed.any(axis=1), CLAIMS if holds else None)


def exact(
    where: str, found: Intervals, logs: np.ndarray, sampling: Sampling, *, here: bool = False
) -> Iterator[Figure]:
    """The difference from the numbers of the project's own function, over the first studies."""
    apart = disagreement(found, logs, sampling, here=here)
    yield Figure(f"difference from the project's own numbers: {where}", apart, "", EXACT)
