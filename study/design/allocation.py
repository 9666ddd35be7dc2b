"""The stopping rule of a sequential allocation: when a pair of arms is given no more blocks.

The rule looks at the width of an interval alone, never at the side of zero on which it lies (Chow & Robbins, Ann. Math.
Stat. 36, 457, 1965). Blocks are added one by one. From n = 6 on, the rule compares the half-width of the 95 % t
interval of the mean log ratio with log(1 + precision/100). Once the half-width is small enough, five more blocks are
given and the rule looks no further: an interval that stops the allocation is too narrow, because it is met where the
blocks so far happen to agree, and fresh blocks make up for most of that.

Simulated 30,000 times each, with normal log ratios of standard deviation σ, precisions of 0.3 to 3 σ and at most 12 to
60 blocks: the interval holds the true change in at least 93.9 % of runs (90.0 % without the five blocks and looking
from n = 3 on). Among the arms that the precision stopped, it is 93.5 % or more where the precision stops at least four
in five; where it stops few, because `max_blocks` is too small for it, the stopped ones are the lucky ones: 84 to 93 %.

The driver and the report both use this module, so they agree about stopping.
"""

from collections.abc import Sequence
from math import log1p

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
"""Coverage of every interval in this project."""

FIRST_LOOK = 6
"""Number of blocks at which the interval is first looked at."""

MORE = 5
"""Number of blocks that are added once the interval is narrow enough."""


def precise(log_ratios: Sequence[float], blocks: int, precision: float) -> bool:
    """Return whether an arm gets no more blocks: its change was known to the precision at least `MORE` blocks ago.

    :param log_ratios: log ratio of the errors of the arm and its baseline, the mean of each block, in order.
    :param blocks: number of blocks that every arm gets; the interval is not looked at before.
    :param precision: half-width of the interval of the change, %.
    """
    x, n = np.asarray(log_ratios, dtype=float), np.arange(1, len(log_ratios) + 1)
    looks = n[max(FIRST_LOOK, blocks) - 1 : max(len(x) - MORE, 0)]
    if not looks.size:
        return False
    centred = x - x.mean()  # otherwise the difference of sums loses the digits of a small variance
    sums, squares = np.cumsum(centred)[looks - 1], np.cumsum(centred**2)[looks - 1]
    variances = np.maximum(squares - sums**2 / looks, 0.0) / (looks - 1)
    half_widths = stats.t.ppf((1 + CONFIDENCE) / 2, looks - 1) * np.sqrt(variances / looks)
    return bool((half_widths <= log1p(precision / 100)).any())
