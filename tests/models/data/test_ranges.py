"""Ranges of numbers, one after another."""

import numpy as np
import pytest

from tesseral.models.data.ranges import ranges


@pytest.mark.parametrize("step", [1, 3])
def test_ranges_follow_one_another(step):
    begins, sizes = np.array([10, 4, 7, 0]), np.array([2, 3, 0, 1])
    expected = [number for begin, size in zip(begins, sizes, strict=True) for number in begin + step * np.arange(size)]
    assert ranges(begins, sizes, step).tolist() == expected


def test_no_ranges_have_no_numbers():
    none = np.array([], dtype=np.int64)
    assert ranges(none, none).tolist() == []
