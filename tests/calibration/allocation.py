"""Sequential allocation of many studies at once: how many blocks each is given, and the interval over them."""

import numpy as np
from scipy import special

from tesseral.study.design.allocation import CONFIDENCE, FIRST_LOOK, MORE
from tests.calibration.verdicts import Intervals


def blocks_given(ratios: np.ndarray, precision: float) -> np.ndarray:
    """Blocks that a study is given by the rule of `tesseral.study.design.allocation`, as an array of shape (studies,).

    :param ratios: log ratios of as many blocks as a study may get, of shape (studies, blocks).
    :param precision: half-width of the interval of the change, %.
    """
    number = np.arange(1, ratios.shape[1] + 1)
    narrow = _half(ratios, number) <= np.log1p(precision / 100)
    narrow[:, : FIRST_LOOK - 1] = False
    first = np.where(narrow.any(axis=1), narrow.argmax(axis=1) + 1, ratios.shape[1])
    return np.minimum(first + MORE, ratios.shape[1])


def sequential(ratios: np.ndarray, precision: float, overlap: float = 0.0) -> Intervals:
    """The interval of each study over the blocks that it was given; see `blocks_given`.

    :param overlap: n_test/n_train; 0 for these data.
    """
    given = blocks_given(ratios, precision)
    number = np.arange(1, ratios.shape[1] + 1)
    at = (given - 1)[:, None]
    mean = np.take_along_axis(ratios.cumsum(axis=1) / number, at, axis=1)
    half = np.take_along_axis(_half(ratios, number) * np.sqrt(1 + number * overlap), at, axis=1)
    quantile = special.stdtrit(at, (1 + CONFIDENCE) / 2)
    return Intervals(mean, half, 2 * special.stdtr(at, -np.abs(mean) * quantile / half))


def _half(ratios: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Half-widths of the interval after each block; infinite after the first."""
    centred = ratios - ratios.mean(axis=1, keepdims=True)
    squares = np.square(centred).cumsum(axis=1) - np.square(centred.cumsum(axis=1)) / number
    half = np.full(ratios.shape, np.inf)
    freedom = number[1:] - 1
    error = np.sqrt(np.maximum(squares[:, 1:], 0.0) / freedom / number[1:])
    half[:, 1:] = special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    return half
