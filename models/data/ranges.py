"""Several ranges of numbers as one array."""

import numpy as np
from numpy.typing import NDArray


def ranges(begins: NDArray[np.int64], sizes: NDArray[np.int64], step: int = 1) -> NDArray[np.int64]:
    """The numbers of each range, one range after another.

    :param begins: the first number of each range, shape (ranges,).
    :param sizes: how many numbers each has, shape (ranges,).
    :param step: from one number to the next.
    :returns: shape (sum of the sizes,).
    """
    numbers = step * np.arange(sizes.sum())
    numbers += np.repeat(begins - step * (np.cumsum(sizes) - sizes), sizes)
    return numbers
