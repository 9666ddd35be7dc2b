"""Errors on test sets of their own: means and paired changes as by hand, and intervals for these data alone."""

from math import exp, expm1, log

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.statistics.arms import summarise_arms
from tesseral.analysis.statistics.comparisons.best import best
from tesseral.analysis.statistics.comparisons.steps import steps
from tesseral.analysis.statistics.test_sets import errors_by_set
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import info, table, trial_rows


def tables_of(metric: str = "test.epsilon", **changes):
    rows = trial_rows()
    for index, row in enumerate(rows):
        row["metric.md.epsilon"] = row["metric.test.epsilon"] * (3 + 0.1 * (index % 5))
        row["metric.md.l2_error"] = 2.0 + index
    changes = {"levels": {f"lmax={k}": {"network.hidden.lmax": str(k)} for k in range(4)}} | changes
    return load(table(rows), [], [], info(**({"tests": ("md",), "metric": metric} | changes)))


def test_every_metric_is_given_for_every_set():
    tables = tables_of()
    found = errors_by_set(tables)
    assert [(each.metric, each.tests, each.arm) for each in found] == [
        (metric, tests, f"lmax={lmax}")
        for metric in ("epsilon", "l2_error")
        for tests in ("test", "md")
        for lmax in range(4)
    ]
    assert {each.unit for each in found} == {"%"}
    assert errors_by_set(tables_of(tests=())) == ()


def test_the_mean_and_the_change_are_those_of_scipy_and_hold_for_these_data():
    tables = tables_of()
    (error,) = [
        each for each in errors_by_set(tables) if (each.metric, each.tests, each.arm) == ("epsilon", "md", "lmax=2")
    ]
    values = {
        (row["arm"], row["block"], row["replicate"]): row["metric.md.epsilon"] for row in tables.trials.to_dicts()
    }
    blocks = [np.mean([log(values["lmax=2", block, k]) for k in range(2)]) for block in range(4)]
    low, high = stats.t.interval(0.95, 3, np.mean(blocks), stats.sem(blocks))
    assert error.error.value == pytest.approx(exp(np.mean(blocks)))
    assert (error.error.here.low, error.error.here.high) == pytest.approx((exp(low), exp(high)))
    assert error.error.low is error.error.p is None, "nothing is said of other test structures"
    ratios = [
        np.mean([log(values["lmax=2", block, k] / values["lmax=0", block, k]) for k in range(2)]) for block in range(4)
    ]
    assert error.change.value == pytest.approx(100 * expm1(np.mean(ratios)))
    assert error.change.here.p == pytest.approx(stats.ttest_1samp(ratios, 0).pvalue)
    assert error.change.low is None
    (split,) = [
        each for each in errors_by_set(tables) if (each.metric, each.tests, each.arm) == ("epsilon", "test", "lmax=2")
    ]
    assert split.error.low is not None


def test_a_study_judged_by_a_test_set_gives_no_verdict_on_new_data():
    tables = tables_of("md.epsilon")
    assert {step.verdict for step in steps(tables)} == {"no verdict"}
    assert "no verdict" not in {step.verdict_here for step in steps(tables)}
    (group,) = best(tables)
    assert group.alike is None
    arm = summarise_arms(tables)[1]
    assert arm.errors.keys() == {"epsilon", "l2_error"}
    assert arm.error.error.value == arm.errors["epsilon"].error.value
    assert summarise_arms(tables_of())[1].error.error.low is not None


def test_a_published_test_split_is_one_set_of_structures_too():
    tables = tables_of(published=True)
    assert summarise_arms(tables)[1].comparison.change.low is None
