"""The set of arms that cannot be told from the best, by simulation with stated seeds."""

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.best import best
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import info, table, trial_row, trial_rows


def found(logs, **changes):
    """The best arms of errors exp(logs), of shape (arms, blocks)."""
    arms = tuple(f"lmax={k}" for k in range(len(logs)))
    rows = [
        trial_row(k, block, 0) | {"metric.test.epsilon": float(np.exp(value))}
        for k, of_arm in enumerate(logs)
        for block, value in enumerate(of_arm)
    ]
    given = {"arms": arms, "baseline": arms[0], "blocks": logs.shape[1], "replicates": 1}
    (result,) = best(load(table(rows), [], [], info(**(given | changes))))
    return result


def failed_start(shared):
    """Arm 0 is 10 % better than arm 1 in six blocks of these effects, but for the first, where its start fails."""
    better = np.append(np.log(3), np.log(0.9) + 0.002 * np.arange(5))
    return np.array([shared + better, shared])


def draws(number, arms, blocks, seed):
    """Equal arms: a common effect of the block, and a spread of each arm that differs threefold."""
    draw = np.random.default_rng(seed)
    spreads = np.linspace(0.05, 0.15, arms)[:, None]
    for _ in range(number):
        yield 0.3 * draw.standard_normal(blocks) + spreads * draw.standard_normal((arms, blocks))


@pytest.mark.parametrize(("arms", "studies"), [(2, 300), (4, 300), (40, 40)])
def test_equal_arms_are_seldom_told_from_the_best(arms, studies):
    wrong = sum(len(found(logs).alike) < arms - 1 for logs in draws(studies, arms, 6, seed=arms))
    assert wrong / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_one_true_best_is_in_the_set():
    inside = told = 0
    for logs in draws(200, 4, 6, seed=7):
        logs[2] -= 0.25
        result = found(logs)
        inside += "lmax=2" in (result.arms[0], *result.alike)
        told += result.alike == ()
    assert inside / 200 >= 0.95
    assert told > 20  # and often it stands alone


def test_a_failed_start_makes_no_best_of_the_other_arm():
    """The plain mean of arm 0 is higher, its interquartile mean lower, as that of the pairs is."""
    logs = failed_start(np.zeros(6))
    assert logs[0].mean() > logs[1].mean()
    result = found(logs, aggregate="iqm")
    assert (result.arms, result.alike, result.told) == (("lmax=0", "lmax=1"), (), False)
    assert result.error.error.value == pytest.approx(np.exp(stats.trim_mean(logs[0], 0.25)))
    assert found(logs).arms == ("lmax=1", "lmax=0")


def test_pairs_may_tell_the_arm_of_the_lowest_interquartile_mean():
    """The failed start was in the easiest block, which the interquartile mean of the other arm leaves out."""
    result = found(failed_start(np.array([0.0, 0.1, 0.7, 0.8, 0.9, 1.0])), aggregate="iqm")
    assert (result.arms, result.alike, result.told) == (("lmax=1", "lmax=0"), ("lmax=0",), True)


def test_replicates_that_are_missing_give_their_block_no_less_weight():
    """Arm 1 is better in two blocks of three; the third has most trials."""
    logs = {(0, 0): (0.0, -0.1), (1, 0): (0.0, -0.1)} | {(2, replicate): (0.0, 0.15) for replicate in range(4)}
    rows = [
        trial_row(arm, *place) | {"metric.test.epsilon": float(np.exp(value))}
        for place, values in logs.items()
        for arm, value in enumerate(values)
    ]
    (result,) = best(load(table(rows), [], [], info(arms=("lmax=0", "lmax=1"), blocks=3, replicates=4)))
    assert result.arms == ("lmax=1", "lmax=0")


def test_arms_of_other_blocks_are_compared_where_all_have_trials():
    """lmax=3 has the hard blocks only, in which it is the best; means over all blocks would name lmax=0."""
    rows = trial_rows(blocks=6)
    for row in rows:
        hard = row["block"] >= 3
        row["metric.test.epsilon"] = (10.0 if hard else 0.1) * (0.5 if row["arm"] == "lmax=3" else 1.0)
    rows = [row for row in rows if row["arm"] != "lmax=3" or row["block"] >= 3]
    (result,) = best(load(table(rows), [], [], info(blocks=6)))
    assert result.arms[0] == "lmax=3"
    assert (result.error.trials, result.error.units, result.error.error.value) == (6, 3, pytest.approx(5.0))
    assert result.alike == ()


def test_no_interval_gives_no_set():
    rows = trial_rows(blocks=2)
    assert best(load(table(rows), [], [], info(blocks=2)))[0].alike is None
    assert best(load(table(rows), [], [], info(blocks=6)))[0].alike is None
    alone = [row for row in rows if row["arm"] == "lmax=1"]
    assert best(load(table(alone), [], [], info(blocks=6))) == ()
