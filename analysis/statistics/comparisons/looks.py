"""What several looks at a growing study do to its p-values."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import multivariate_normal, norm

from tesseral.analysis.terms.estimate import SIGNIFICANCE

_SEED = 0
"""Of the quasi-Monte Carlo integration, so that a report is the same each time."""


def chance_of_claim(units: Sequence[int]) -> float:
    """The chance that a comparison of equal arms has p < 0.05 at one of several looks at least.

    It is 1 − P(|Z_i| ≤ 1.96 for all i), with standard normal Z_i of the covariance √(n_i/n_j), n_i ≤ n_j (Armitage,
    McPherson & Rowe, J. R. Stat. Soc. A 132, 235, 1969). Student's t of few units gives nearly the same.

    :param units: independent units at each look, growing.
    :returns: 0.05 for one look.
    """
    sizes = np.array(units, dtype=float)
    covariance = np.sqrt(np.minimum.outer(sizes, sizes) / np.maximum.outer(sizes, sizes))
    bound = np.full(len(sizes), norm.ppf(1 - SIGNIFICANCE / 2))
    generator = np.random.default_rng(_SEED)
    within = multivariate_normal.cdf(bound, cov=covariance, lower_limit=-bound, maxpts=200_000, rng=generator)
    return 1 - float(within)
