"""Designs of several factors: their arms, and the contrasts that are their effects, in closed form."""

from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product

import numpy as np

Arm = tuple[int, ...]


@dataclass(frozen=True)
class Design:
    """Arms of several factors; the first one is the baseline."""

    name: str
    kind: str
    """`design.kind` of the study file."""
    arms: tuple[Arm, ...]
    """Number of the level of each factor; 0 is the baseline's."""
    contrasts: np.ndarray
    """Weights of shape (effects, arms): main effects of each factor, then the interactions of each pair."""


def factorial(*levels: int) -> Design:
    """All combinations: a contrast is a Kronecker product of differences from level 0 and of means over levels.

    :param levels: number of levels of each factor.
    """
    means = [np.full((1, number), 1 / number) for number in levels]
    steps = [np.hstack([-np.ones((number - 1, 1)), np.eye(number - 1)]) for number in levels]
    factors = range(len(levels))
    chosen = [*combinations(factors, 1), *combinations(factors, 2)]
    contrasts = [reduce(np.kron, [steps[i] if i in own else means[i] for i in factors]) for own in chosen]
    arms = tuple(product(*map(range, levels)))
    return Design(" × ".join(map(str, levels)), "factorial", arms, np.vstack(contrasts))


def half() -> Design:
    """Half of 2 × 2 × 2: the third factor has level 1 where just one of the others has.

    Each main effect is estimated together with the interaction of the two other factors, which counts half.
    """
    arms = tuple((a, b, a ^ b) for a, b in product((0, 1), repeat=2))
    signs = 2 * np.array(arms) - 1
    main = signs.T / 2
    crossed = [signs[:, i] * signs[:, j] for i, j in combinations(range(3), 2)]
    return Design("half of 2 × 2 × 2", "fractional", arms, np.vstack([main, *crossed]))


DESIGNS = (factorial(2, 2), factorial(3, 2), half())
