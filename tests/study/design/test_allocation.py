"""The stopping rule of a sequential allocation: when it looks, what it leaves out, and how often its intervals hold."""

from math import expm1, log, log1p, nan

import numpy as np
import pytest
from scipy import stats

from tesseral.study.design.allocation import precise, stopped

RULE = {"blocks": 3, "max_blocks": 12, "precision": 20.0}


def pairs(blocks, ratio=0.8, replicates=2):
    """Pairs of one ratio of errors, with errors that differ from block to block."""
    return [(block, ratio * (1 + block), 1.0 + block) for block in range(blocks) for _ in range(replicates)]


@pytest.mark.parametrize(("given", "reason"), [(10, None), (11, "precision"), (12, "precision")])
def test_a_known_change_stops_five_blocks_after_the_first_look(given, reason):
    assert stopped(pairs(given), given, **RULE) == reason


@pytest.mark.parametrize(("given", "reason"), [(11, None), (12, "most blocks"), (13, "most blocks")])
def test_the_largest_number_of_blocks_stops_a_change_that_is_not_known(given, reason):
    scattered = [(block, error * 2.0 ** (block % 3), baseline) for block, error, baseline in pairs(given)]
    assert stopped(scattered, given, **RULE) == reason


@pytest.mark.parametrize("error", [None, nan, float("inf"), 0.0, -1.0])
def test_a_pair_without_a_ratio_is_left_out_and_its_block_counts_by_the_others(error):
    whole = pairs(11)
    assert stopped([(0, error, 1.0), *whole[1:]], 11, **RULE) == "precision"
    assert stopped([(0, 1.0, error), *whole[1:]], 11, **RULE) == "precision"
    assert stopped([(0, error, 1.0), (0, error, 1.0), *whole[2:]], 11, **RULE) is None, "ten blocks have a ratio"


def test_replicates_are_averaged_before_the_rule_looks():
    """Two replicates that deviate by opposite factors leave the mean of each block as it is."""
    opposite = [(block, factor, 1.0) for block in range(11) for factor in (0.5, 2.0)]
    assert stopped(opposite, 11, **RULE) == "precision"
    assert stopped([(n, factor, 1.0) for n, (_, factor, _) in enumerate(opposite)], 22, **RULE) == "most blocks"


def test_precise_is_a_look_at_the_width_five_blocks_ago():
    ratios = list(np.random.default_rng(0).normal(-0.3, 0.05, 40))
    for blocks, first in ((1, 6), (3, 6), (8, 8)):
        assert [precise(ratios[:n], blocks, 1e6) for n in range(40)] == [n >= first + 5 for n in range(40)]
    widths = {n: log(1 + t_half(ratios[:n])) for n in range(6, 41)}
    for precision in (1.5, 2.0, 3.0, 5.0):
        met = min(n for n, half in widths.items() if half <= log1p(precision / 100))
        assert [precise(ratios[:n], 3, precision) for n in range(41)] == [n >= met + 5 for n in range(41)]


def t_half(ratios) -> float:
    """e^h − 1 of the half-width h."""
    return expm1(stats.t.ppf(0.975, len(ratios) - 1) * np.std(ratios, ddof=1) / len(ratios) ** 0.5)


def test_intervals_hold_the_change_nearly_as_often_as_they_say():
    """Where a sequential rule does worst: precisions that ask for 8 to 20 blocks. Without the further blocks, 90 %."""
    rng, held = np.random.default_rng(1), []
    for ratio in (0.5, 0.7):
        for _ in range(1500):
            x = rng.normal(0.0, log1p(0.02) / ratio, 30)
            n = next((n for n in range(11, 30) if precise(x[:n], 3, 2.0)), 30)
            held.append(abs(x[:n].mean()) <= log(1 + t_half(x[:n])))
    assert np.mean(held) > 0.93
