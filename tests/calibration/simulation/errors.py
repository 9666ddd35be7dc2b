"""Errors of simulated trials: logarithms of errors, with the deviations that real errors show."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

Shape = tuple[int, ...]

BLOCK = 0.12
"""Standard deviation of the effect of a block, which all arms share, on the logarithm of an error."""
INTERACTION = 0.05
"""Standard deviation of what a block does to one arm alone."""


@dataclass(frozen=True)
class Kind:
    """A distribution of the errors of single starts."""

    name: str
    draw: Callable[[np.random.Generator, Shape], np.ndarray]
    """Draws logarithms of errors."""
    mean: float
    """Their expectation: the logarithm of the true geometric mean."""
    fails: bool = False
    """Whether some starts fail. A few blocks then do not show the mean: its coverage is told, with no threshold."""


def _normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.log1p(0.1 * rng.standard_normal(shape))


def _log_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return 0.3 * rng.standard_normal(shape)


def _gamma(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.log(rng.gamma(4, 0.25, shape))


def _heavy_tailed(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return 0.1 * rng.standard_t(3, shape)


def _failing(rate: float) -> Callable[[np.random.Generator, Shape], np.ndarray]:
    return lambda rng, shape: 0.1 * rng.standard_normal(shape) + np.log(3) * (rng.random(shape) < rate)


KINDS = (
    Kind("normal", _normal, float(stats.norm.expect(lambda z: np.log1p(0.1 * z), lb=-8, ub=8))),
    Kind("log-normal", _log_normal, 0.0),
    Kind("gamma, shape 4", _gamma, float(special.digamma(4) - np.log(4))),
    Kind("heavy-tailed, t with 3 df", _heavy_tailed, 0.0),
    Kind("one start in ten fails at 3 times the error", _failing(0.1), 0.1 * float(np.log(3)), fails=True),
)
PLAIN = KINDS[0]
RARELY = Kind("one start in a hundred fails at 3 times the error", _failing(0.01), 0.01 * float(np.log(3)), fails=True)


def log_errors(
    rng: np.random.Generator, kinds: tuple[Kind, ...], studies: int, blocks: int, replicates: int
) -> np.ndarray:
    """Draw studies in which arm k has errors of `kinds[k]`, less their true mean: all arms are equal.

    :returns: logarithms of errors, of shape (studies, arms, blocks, replicates).
    """
    shared = BLOCK * rng.standard_normal((studies, 1, blocks, 1))
    own = INTERACTION * rng.standard_normal((studies, len(kinds), blocks, 1))
    starts = np.stack([kind.draw(rng, (studies, blocks, replicates)) - kind.mean for kind in kinds], axis=1)
    return shared + own + starts
