"""Intervals against SciPy, hand calculations and their own claim: that 95 % of them cover the truth."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.paired import arm_errors, compare_arms, holm, trial_errors
from tesseral.analysis.terms.estimate import t_estimate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.errors import RecordError, TesseralError
from tests.support.synthetic_study import table, trial_row, trial_rows

METRIC = "test.epsilon"
ARMS = ["lmax=0", "lmax=1", "lmax=2", "lmax=3"]


def frame(rows):
    return pl.DataFrame(pl.from_arrow(table(rows)))


def grid(rows, arm):
    """Errors of one arm as an array (block, replicate)."""
    own = sorted((r for r in rows if r["arm"] == arm), key=lambda r: (r["block"], r["replicate"]))
    blocks = len({r["block"] for r in own})
    return np.array([r["metric.test.epsilon"] for r in own]).reshape(blocks, -1)


def test_interval_is_students():
    values = np.random.default_rng(0).normal(3, 1, size=7)
    estimate, known = t_estimate(values), stats.ttest_1samp(values, 0)
    interval = known.confidence_interval(0.95)
    assert estimate.value == pytest.approx(values.mean(), rel=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert estimate.p == pytest.approx(known.pvalue, rel=1e-10)


def test_interval_of_one_two_three_by_hand():
    # Mean 2, s = 1, n = 3; with two degrees of freedom the quantile is t(q) = (2q − 1)/√(2q(1 − q)).
    estimate = t_estimate([1, 2, 3])
    half = 0.95 / np.sqrt(2 * 0.975 * 0.025) / np.sqrt(3)
    assert (estimate.low, estimate.high) == pytest.approx((2 - half, 2 + half), rel=1e-12)


def test_two_units_have_no_interval_and_none_is_refused():
    assert (t_estimate([1.0, 2.0]).value, t_estimate([1.0, 2.0]).low, t_estimate([1.0, 2.0]).p) == (1.5, None, None)
    with pytest.raises(TesseralError, match="at least one value"):
        t_estimate([])


def test_units_without_spread_are_certain():
    equal, zero = t_estimate([2.0, 2.0, 2.0]), t_estimate([0.0, 0.0, 0.0])
    assert (equal.low, equal.high, equal.p) == (2.0, 2.0, 0.0)
    assert zero.p == 1.0
    assert not zero.excludes_zero


def test_blocks_are_the_units_where_there_are_three():
    rows = trial_rows(seed=3)
    summary = arm_errors(frame(rows), METRIC, ARMS, Sampling(4))[1]
    means = np.log(grid(rows, "lmax=1")).mean(axis=1)
    known = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (summary.trials, summary.unit, summary.units) == (8, "block", 4)
    assert summary.error.value == pytest.approx(stats.gmean(grid(rows, "lmax=1"), axis=None), rel=1e-12)
    assert (summary.error.low, summary.error.high) == pytest.approx(np.exp((known.low, known.high)), rel=1e-12)
    assert summary.deviation == pytest.approx(grid(rows, "lmax=1").std(ddof=1), rel=1e-12)


def test_pairs_are_those_of_scipy_over_blocks():
    rows = trial_rows(seed=4)
    comparison = compare_arms(frame(rows), METRIC, ARMS, "lmax=0", Sampling(4))[1]
    arm, baseline = grid(rows, "lmax=2"), grid(rows, "lmax=0")
    known = stats.ttest_rel(arm.mean(axis=1), baseline.mean(axis=1))
    interval = known.confidence_interval(0.95)
    assert (comparison.pairs, comparison.missing, comparison.unit, comparison.units) == (8, 0, "block", 4)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-12
    )
    assert comparison.difference.p == pytest.approx(known.pvalue, rel=1e-10)
    logs = np.log(arm / baseline).mean(axis=1)
    bounds = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert comparison.change.value == pytest.approx(100 * (np.exp(logs.mean()) - 1), rel=1e-12)
    assert comparison.change.low == pytest.approx(100 * (np.exp(bounds.low) - 1), rel=1e-12)
    assert comparison.change.high == pytest.approx(100 * (np.exp(bounds.high) - 1), rel=1e-12)


def test_pairs_are_the_units_of_a_study_of_two_blocks():
    rows = trial_rows(seed=5, blocks=2, replicates=3)
    comparison = compare_arms(frame(rows), METRIC, ARMS, "lmax=0", Sampling(2))[0]
    known = stats.ttest_rel(grid(rows, "lmax=1").ravel(), grid(rows, "lmax=0").ravel()).confidence_interval(0.95)
    here = comparison.difference.here
    assert (comparison.unit, comparison.units) == ("pair", 6)
    assert (here.low, here.high) == pytest.approx((known.low, known.high), rel=1e-12)
    # Two splits say nothing of others.
    assert (comparison.difference.low, comparison.change.p, comparison.p_holm) == (None, None, None)
    assert comparison.p_holm_here >= comparison.change.here.p


@pytest.mark.parametrize("finished", [1, 2])
def test_the_design_decides_the_unit_not_what_is_finished(finished):
    """Two blocks of six with three replicates: six pairs that are not independent, so no interval yet."""
    rows = trial_rows(seed=5, blocks=finished, replicates=3)
    running = [trial_row(arm, block, 0, state="running") for arm in range(4) for block in range(finished, 6)]
    trials = frame(rows + running)
    mean = stats.gmean(grid(rows, "lmax=1"), axis=None)
    summary = arm_errors(trials, METRIC, ARMS, Sampling(6))[1]
    assert (summary.trials, summary.unit, summary.units) == (3 * finished, "block", finished)
    assert (summary.error.value, summary.error.low, summary.error.p) == (pytest.approx(mean), None, None)
    for comparison in compare_arms(trials, METRIC, ARMS, "lmax=0", Sampling(6)):
        assert (comparison.pairs, comparison.unit, comparison.units) == (3 * finished, "block", finished)
        assert (comparison.change.low, comparison.difference.low, comparison.p_holm) == (None, None, None)


def test_the_third_block_brings_the_interval():
    comparison = compare_arms(frame(trial_rows(seed=5, blocks=3)), METRIC, ARMS, "lmax=0", Sampling(6))[0]
    assert (comparison.unit, comparison.units) == ("block", 3)
    assert comparison.change.low < comparison.change.value < comparison.change.high


def test_a_constant_ratio_is_found_exactly():
    rows = [r for r in trial_rows(seed=6) if r["arm"] == "lmax=0"]
    rows += [r | {"arm": "lmax=1", "metric.test.epsilon": 0.53 * r["metric.test.epsilon"]} for r in rows]
    comparison = compare_arms(frame(rows), METRIC, ["lmax=0", "lmax=1"], "lmax=0", Sampling(4))[0]
    assert comparison.change.value == pytest.approx(-47, abs=1e-9)
    assert (comparison.change.low, comparison.change.high) == pytest.approx((-47, -47), abs=1e-9)


def test_a_failed_trial_takes_its_pair_out():
    rows = trial_rows(seed=7)
    failed = next(r for r in rows if (r["arm"], r["block"], r["replicate"]) == ("lmax=1", 0, 1))
    failed["state"] = "failed"
    comparisons = compare_arms(frame(rows), METRIC, ARMS, "lmax=0", Sampling(4))
    assert [(c.pairs, c.missing) for c in comparisons] == [(7, 1), (8, 0), (8, 0)]
    ratio = np.log(grid(rows, "lmax=1") / grid(rows, "lmax=0"))
    units = [ratio[0, 0], *ratio[1:].mean(axis=1)]
    assert comparisons[0].change.value == pytest.approx(100 * np.expm1(np.mean(units)), rel=1e-12)


@pytest.mark.parametrize("changes", [{"stage": "search"}, {"state": "running"}, {"metric.test.epsilon": float("nan")}])
def test_only_complete_confirmed_trials_count(changes):
    rows = trial_rows(seed=8)
    assert trial_errors(frame([rows[0] | changes, *rows[1:]]), METRIC).height == 31


def test_an_error_of_zero_has_a_difference_but_no_ratio():
    rows = trial_rows(seed=9)
    rows[0]["metric.test.epsilon"] = 0.0
    comparison = compare_arms(frame(rows), METRIC, ARMS, "lmax=0", Sampling(4))[0]
    assert comparison.change is None
    assert comparison.difference.low < comparison.difference.value < 0


def test_arms_without_a_complete_trial_are_empty():
    rows = [trial_row(arm, block, 0, state="running") for arm in (0, 1) for block in range(3)]
    comparison = compare_arms(frame(rows), METRIC, ARMS[:2], "lmax=0", Sampling(4))[0]
    assert (comparison.pairs, comparison.missing, comparison.difference, comparison.change) == (0, 3, None, None)
    assert [(s.trials, s.error, s.deviation) for s in arm_errors(frame(rows), METRIC, ARMS[:2], Sampling(4))] == [
        (0, None, None)
    ] * 2


def test_an_arm_of_fewer_blocks_is_compared_in_its_own():
    """As a sequential allocation leaves it: the baseline has the most blocks, and none of the others lacks them."""
    rows = [
        row for row in trial_rows(seed=11, blocks=6) if row["block"] < {"lmax=0": 6, "lmax=1": 3}.get(row["arm"], 6)
    ]
    comparisons = compare_arms(frame(rows), METRIC, ARMS, "lmax=0", Sampling(6))
    assert [(c.pairs, c.missing, c.units) for c in comparisons] == [(6, 0, 3), (12, 0, 6), (12, 0, 6)]
    logs = np.log(grid(rows, "lmax=1") / grid(rows, "lmax=0")[:3]).mean(axis=1)
    assert comparisons[0].change.value == pytest.approx(100 * np.expm1(logs.mean()), rel=1e-12)


def test_the_interval_of_an_error_ends_at_zero():
    """An error of zero has no logarithm, so the mean is the arithmetic one."""
    rows = [trial_row(0, b, 0) | {"metric.test.epsilon": value} for b, value in enumerate((0.0, 0.1, 1.0))]
    error = arm_errors(frame(rows), METRIC, ARMS[:1], Sampling(3))[0].error
    known = stats.ttest_1samp([0.0, 0.1, 1.0], 0).confidence_interval(0.95)
    assert error.value == pytest.approx(1.1 / 3)
    assert known.low < 0
    assert (error.low, error.high) == (0.0, pytest.approx(known.high, rel=1e-12))
    signed = [row | {"metric.test.signed": -row["metric.test.epsilon"]} for row in rows]
    below = arm_errors(frame(signed), "test.signed", ARMS[:1], Sampling(3))[0].error
    assert (below.low, below.high) == pytest.approx((-known.high, -known.low), rel=1e-12)


@pytest.mark.parametrize(("blocks", "least"), [(3, 0.90), (5, 0.92), (8, 0.93)])
def test_intervals_that_were_stopped_at_a_width_cover_as_the_report_says(blocks, least):
    """Half-widths of 0.5 and 0.7 standard deviations, near which it is worst, with up to fifty blocks."""
    draw = np.random.default_rng(blocks)
    for width in (0.5, 0.7):
        covered = 0
        for units in draw.standard_normal((1500, 50)):
            given = blocks
            while (estimate := t_estimate(units[:given])).high - estimate.value > width and given < 50:
                given += 1
            covered += estimate.low <= 0 <= estimate.high
        assert least - 0.02 < covered / 1500 < 0.965


def test_mistakes_are_named():
    rows = trial_rows()
    with pytest.raises(TesseralError, match=r"got 'test\.epsilom'; valid are .*test\.epsilon"):
        trial_errors(frame(rows), "test.epsilom")
    with pytest.raises(TesseralError, match="baseline among the arms, got 'lmax=7'; valid are lmax=0"):
        compare_arms(frame(rows), METRIC, ARMS, "lmax=7", Sampling(4))
    with pytest.raises(RecordError, match="several of arm 'lmax=0', block 0, replicate 0"):
        trial_errors(frame([*rows, rows[0] | {"trial": "another"}]), METRIC)


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, made monotone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(TesseralError, match="p-values in"):
        holm([float("nan")])


def test_holm_corrects_the_changes():
    comparisons = compare_arms(frame(trial_rows(seed=10)), METRIC, ARMS, "lmax=2", Sampling(4))
    assert [c.p_holm for c in comparisons] == holm([c.change.p for c in comparisons])
    assert all(c.p_holm >= c.change.p for c in comparisons)


def pairs_of_a_draw(draw, change):
    """Trials of two arms in 5 blocks of 3 replicates, the arm's effect differing by block, as log-normal errors."""
    split, effect = 0.3 * draw.standard_normal(5), np.log(1 + change) + 0.2 * draw.standard_normal(5)
    noise = 0.1 * draw.standard_normal((2, 5, 3))
    blocks, replicates = (index.ravel() for index in np.indices((5, 3)))
    parts = [
        pl.DataFrame({"arm": arm, "block": blocks, "replicate": replicates, "metric.test.epsilon": logs.ravel()})
        for arm, logs in (("base", split[:, None] + noise[0]), ("arm", (split + effect)[:, None] + noise[1]))
    ]
    constant = {"stage": pl.lit("confirm"), "state": pl.lit("complete"), "trial": pl.lit("")}
    return pl.concat(parts).with_columns(pl.col("metric.test.epsilon").exp(), **constant)


def test_intervals_cover_and_pairs_of_one_block_would_not():
    draw = np.random.default_rng(2024)
    draws, truth = 1000, -30.0
    covered = naive = 0
    for _ in range(draws):
        trials = pairs_of_a_draw(draw, truth / 100)
        change = compare_arms(trials, METRIC, ["base", "arm"], "base", Sampling(5))[0].change
        covered += change.low <= truth <= change.high
        errors_ = trials["metric.test.epsilon"].to_numpy().reshape(2, 15)
        interval = stats.ttest_1samp(np.log(errors_[1] / errors_[0]), 0).confidence_interval(0.95)
        naive += interval.low <= np.log(1 + truth / 100) <= interval.high
    assert covered / draws == pytest.approx(0.95, abs=0.025)
    assert naive / draws < 0.90  # the reason for averaging within blocks
