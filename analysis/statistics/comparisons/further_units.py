"""How many more units would decide a step: the power of all of its tests together.

A step is decided if its error is shown to be lower or higher (the two-sided t test of a mean d of zero), or to change
by less than δ (t tests against log(1 + δ) and −log(1 + δ), see `steps`). With d near zero the latter decide, with d
near δ the former, and with d between either may. So all are taken together.

With n units of standard deviation s, and r = √(1/n + overlap), the mean seen is normal about d with the deviation s·r,
and the deviation seen is that of s·√(χ²/(n − 1)), independent of it. The chance is the integral over χ² of the normal's
share of the means that decide. For a test of no change alone it is that of the noncentral t distribution (Cohen,
Statistical Power Analysis, 1988), for the two against δ that of Schuirmann (J. Pharmacokinet. Biopharm. 15, 657, 1987).
"""

import numpy as np
from scipy import special

from tesseral.analysis.statistics.comparisons.precision import POWER

MOST_MORE = 1000
"""More units than this are not counted."""

_NODES, _WEIGHTS = special.roots_sh_legendre(64)
"""Of the integral over the quantiles of χ²."""


def chance_to_decide(
    mean: float, spread: float, units: np.ndarray, margin: float, level: float, overlap: float = 0.0, *, both: bool
) -> np.ndarray:
    """The chance with which a step is decided.

    :param mean: d, the true mean of the units' log ratios.
    :param spread: their standard deviation s, above zero.
    :param units: numbers of them, two or more.
    :param margin: log(1 + δ).
    :param level: significance of the two-sided test, and of each one-sided one.
    :param overlap: n_test/n_train of units that are splits of one data set; 0 for these data alone.
    :param both: whether falls by δ or more are to be excluded too, as for a dearer step.
    :returns: for each of `units`.
    """
    n = np.asarray(units)[:, None]
    deviation = spread * np.sqrt(1 / n + overlap)
    error = deviation * np.sqrt(2 * special.gammaincinv((n - 1) / 2, _NODES) / (n - 1))
    two_sided = special.stdtrit(n - 1, 1 - level / 2) * error  # means beyond it are lower or higher
    within = margin - special.stdtrit(n - 1, 1 - level) * error  # means below it rise by less than δ

    def share(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Of the means seen, those between two bounds; none if the second is below the first."""
        inside = special.ndtr((high - mean) / deviation) - special.ndtr((low - mean) / deviation)
        return np.maximum(inside, 0.0)

    if both:
        nearest = np.maximum(within, 0.0)
        undecided = share(nearest, two_sided) + share(-two_sided, -nearest)
    else:
        undecided = share(np.maximum(within, -two_sided), two_sided)
    return np.asarray((1 - undecided) @ _WEIGHTS)


def further_units(units: np.ndarray, margin: float, level: float, overlap: float = 0.0, *, both: bool) -> int | None:
    """How many more units decide a step with a chance of 80 %, if mean and spread are those seen.

    :param units: log ratios seen, at least two.
    :param margin: as the others, see `chance_to_decide`.
    :returns: at least 1; None if no number up to `MOST_MORE` does.
    """
    spread = float(units.std(ddof=1))
    if spread == 0:
        return None
    more = np.arange(1, MOST_MORE + 1)
    chance = chance_to_decide(float(units.mean()), spread, units.size + more, margin, level, overlap, both=both)
    return int(more[np.argmax(chance >= POWER)]) if chance.max() >= POWER else None
