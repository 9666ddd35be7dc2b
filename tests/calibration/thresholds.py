"""What the figures of the calibration may be, and how they are written."""

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
CLAIMS_IQM = 6.5
"""The same with interquartile means, whose units are few."""
FROM = 6
"""Blocks from which on this is to hold."""
SIZES = ((36, 8, 12), (800, 100, 100))
"""Structures to train on, for validation and to test on."""
CHECKED = 12
"""Studies of a cell whose numbers are held against those of the project's own function."""
EXACT = 1e-9
"""Largest difference from them."""


def coverage(what: str, found: Intervals, holds: bool) -> Figure:
    """The coverage of intervals, which is to hold within `COVERAGE`."""
    least, most = COVERAGE if holds else (None, None)
    return Figure(f"coverage, {what}", found.coverage(), "%", most, least)


def claims(what: str, found: Intervals, holds: bool) -> Figure:
    """The share of studies that claim anything, which is to hold below `CLAIMS`."""
    return Figure(f"any claim, {what}", found.any_claim, "%", CLAIMS if holds else None)


def exact(
    where: str, found: Intervals, logs: np.ndarray, sampling: Sampling, *, here: bool = False
) -> Iterator[Figure]:
    """The difference from the numbers of the project's own function, over the first studies."""
    apart = disagreement(found, logs, sampling, here=here)
    yield Figure(f"difference from the project's own numbers: {where}", apart, "", EXACT)
