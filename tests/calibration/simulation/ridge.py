"""Ridge regression on data sets that are drawn anew, re-split in blocks as studies do: the truth for new data is known.

A structure has standard normal features, and its label is their sum, scaled to variance 1, plus noise. An arm sees the
features of its own group, all groups of one size. Groups are exchangeable, so over new data sets the expected log
ratio of the errors of any two arms is zero; on one data set it is not.
"""

import numpy as np

EACH = 2
"""Features that an arm sees."""
PENALTY = 1.0
NOISE = 0.1
"""Standard deviation of the labels that no feature explains. With more of it the errors of different blocks have less
in common, and the interval for new data is wider than it need be."""
_AT_ONCE = 10_000_000
"""Most numbers held at once."""


def log_errors(
    rng: np.random.Generator,
    studies: int,
    arms: int,
    blocks: int,
    size: tuple[int, int, int],
    noise: float = NOISE,
) -> np.ndarray:
    """Draw a data set a study, split it anew in each block, and train every arm on the same splits.

    :param size: structures to train on, to put aside for validation, and to test on.
    :param noise: standard deviation of the labels that no feature explains.
    :returns: logarithms of the root mean square errors, of shape (studies, arms, blocks).
    """
    some = max(1, _AT_ONCE // (sum(size) * (arms * EACH + 4)))
    parts = [min(some, studies - start) for start in range(0, studies, some)]
    return np.concatenate([_draw(rng, part, arms, blocks, size, noise) for part in parts])


def _draw(
    rng: np.random.Generator, studies: int, arms: int, blocks: int, size: tuple[int, int, int], noise: float
) -> np.ndarray:
    train, _, test = size
    structures = sum(size)
    x = rng.standard_normal((studies, arms, structures, EACH))
    y = x.sum((1, 3)) / np.sqrt(arms * EACH) + noise * rng.standard_normal((studies, structures))
    errors = np.empty((studies, arms, blocks))
    rows = np.arange(studies)[:, None]
    for block in range(blocks):
        order = rng.random((studies, structures)).argsort(axis=1)
        tested, held = order[:, -test:], order[:, train:]
        y_test, y_held = y[rows, tested], y[rows, held]
        for arm in range(arms):
            own = x[:, arm]
            x_held = own[rows, held]
            # Of all structures less those held out: few are, where there are many.
            gram = own.mT @ own - x_held.mT @ x_held + PENALTY * np.eye(EACH)
            product = np.einsum("sij,si->sj", own, y) - np.einsum("sij,si->sj", x_held, y_held)
            weights = np.linalg.solve(gram, product[..., None])
            residual = y_test - (own[rows, tested] @ weights)[..., 0]
            errors[:, arm, block] = np.log(np.square(residual).mean(axis=1)) / 2
    return errors
