"""Outlying trials by simulation, and rates against the formula of Clopper and Pearson."""

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.report.findings import findings
from tesseral.analysis.statistics.comparisons.outliers import (
    failing_sentences,
    failing_starts,
    largest_rate,
    matters,
    unseen_sentences,
)
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import info, table, trial_row, trial_rows


def study_of(logs, **changes):
    """Errors exp(logs), of shape (arms, blocks)."""
    rows = [
        trial_row(arm, block, 0) | {"metric.test.epsilon": float(np.exp(value))}
        for arm, of_arm in enumerate(logs)
        for block, value in enumerate(of_arm)
    ]
    arms = tuple(f"lmax={k}" for k in range(len(logs)))
    given = {"arms": arms, "blocks": logs.shape[1], "replicates": 1} | changes
    return load(table(rows), [], [], info(**given))


@pytest.mark.parametrize(("arms", "blocks", "most"), [(4, 4, 0.08), (1, 6, 0.05), (4, 6, 0.05), (4, 20, 0.05)])
def test_studies_without_failing_starts_are_seldom_flagged(arms, blocks, most):
    draw = np.random.default_rng(arms + blocks)
    spreads = np.linspace(0.05, 0.15, arms)[:, None]
    called = 0
    for _ in range(150):
        logs = 0.3 * draw.standard_normal(blocks) + spreads * draw.standard_normal((arms, blocks))
        called += bool(failing_starts(study_of(logs)))
    assert called / 150 <= most + 2 * np.sqrt(most * (1 - most) / 150)


def test_a_start_that_fails_is_found_beside_its_arm():
    draw = np.random.default_rng(9)
    logs = 0.3 * draw.standard_normal(6) + 0.05 * draw.standard_normal((4, 6))
    logs[2, 4] += np.log(3)
    tables = study_of(logs)
    (found,) = failing_starts(tables)
    (outlier,) = found.outliers
    assert (found.arm, outlier.block, outlier.replicate, found.failed, found.trials) == ("lmax=2", 4, 0, 0, 6)
    assert outlier.ratio == pytest.approx(3, rel=0.15)
    # Clopper and Pearson: quantiles of beta distributions.
    low, high = stats.beta.ppf(0.025, 1, 6), stats.beta.ppf(0.975, 2, 5)
    assert (found.rate, found.low, found.high) == pytest.approx((1 / 6, low, high))
    results = analyse(tables)
    assert f"1 outlying trial (block 4: {outlier.ratio:.1f} ×)" in results.arms[2].flags
    assert (
        "1 of 6 trials of lmax=2 failed or are outlying (17 % [0, 64]). The mean of an arm hides such starts; "
        'study.aggregate = "iqm" takes a mean that few of them change.'
    ) in findings(results)
    assert failing_sentences([found], "iqm")[0].endswith("leaves such starts out: read the rate beside it.")


def test_what_may_fail_unseen_is_told():
    """Of n starts none fails with a chance of (1 − rate)^n: 2.5 % at the upper end of the interval."""
    draw = np.random.default_rng(9)
    logs = 0.3 * draw.standard_normal(6) + 0.05 * draw.standard_normal((4, 6))
    sentence = (
        "Where none of 6 trials is seen to fail, up to 46 % of starts still may (exact 95 %): the interval of a mean "
        "holds for starts that do not fail."
    )
    assert sentence in findings(analyse(study_of(logs)))
    assert sentence not in findings(analyse(study_of(logs[:, :3])))
    assert sentence not in findings(analyse(study_of(logs, aggregate="iqm")))
    logs[2, 4] += np.log(3)
    assert sentence in findings(analyse(study_of(logs))), "of the three other arms"
    for trials in (6, 203):
        assert (1 - largest_rate(trials)) ** trials == pytest.approx(0.025)
        assert largest_rate(trials) == pytest.approx(stats.binomtest(0, trials).proportion_ci(0.95).high)
    # With δ = 2 % a rate matters from log(1.02)/log(3) = 1.8 % on.
    assert (matters(largest_rate(202), 2), matters(largest_rate(203), 2)) == (True, False)
    assert unseen_sentences([203, 400], 2, "mean") == []
    assert "none of 202 trials is seen to fail, up to 1.8 %" in unseen_sentences([400, 202], 2, "mean")[0]


def test_failed_trials_count_and_good_luck_does_not():
    draw = np.random.default_rng(2)
    logs = 0.05 * draw.standard_normal((4, 6))
    logs[1, 1] -= np.log(3)
    assert failing_starts(study_of(logs)) == ()
    rows = trial_rows(blocks=6)
    rows[0]["state"] = "failed"
    (found,) = failing_starts(load(table(rows), [], [], info(blocks=6)))
    assert (found.arm, found.outliers, found.failed, found.trials) == ("lmax=0", (), 1, 12)


def test_three_blocks_are_warned_of():
    logs = np.random.default_rng(3).standard_normal((4, 3))
    logs[0, 0] += 50
    assert failing_starts(study_of(logs)) == ()
    told = findings(analyse(study_of(logs)))
    assert any(one.startswith("Intervals rest on 3 blocks, that is on 2 degrees of freedom") for one in told)
