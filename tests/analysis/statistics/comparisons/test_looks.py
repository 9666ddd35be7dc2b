"""The chance of a claim at several looks is the published one."""

import numpy as np
import pytest

from tesseral.analysis.statistics.comparisons.looks import chance_of_claim


@pytest.mark.parametrize(("looks", "chance"), [(1, 5.0), (2, 8.3), (3, 10.7), (4, 12.6), (5, 14.2)])
def test_equally_spaced_looks_have_the_chances_of_armitage(looks, chance):
    """Armitage, McPherson & Rowe (1969), table 2."""
    assert 100 * chance_of_claim([10 * n for n in range(1, looks + 1)]) == pytest.approx(chance, abs=0.06)


def test_a_simulation_agrees():
    draws = np.random.default_rng(3).standard_normal((200_000, 9)).cumsum(axis=1)
    looks = np.array([3, 4, 9])
    seen = (np.abs(draws[:, looks - 1] / np.sqrt(looks)) > 1.959964).any(axis=1).mean()
    assert chance_of_claim([3, 4, 9]) == pytest.approx(seen, abs=0.002)
