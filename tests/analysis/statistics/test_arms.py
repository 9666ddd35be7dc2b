"""Arms are compared with the baseline of their group alone."""

import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.comparisons.paired import arm_errors, compare_arms, holm
from tesseral.analysis.statistics.orders.benefit import benefit
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.errors import TesseralError
from tests.support.report_page import words
from tests.support.synthetic_study import CROSSED, TARGETS, crossed_rows, crossed_tables, label

RELATIVE = "test.relative_error"


def test_changes_are_within_a_target_and_holm_is_over_all(crossed, crossed_results):
    summaries = {row.arm: row for row in crossed_results.arms}
    p_values = []
    for quantity in TARGETS:
        arms = [label(k, quantity) for k in range(3)]
        assert summaries[arms[0]].comparison is None
        for alone in compare_arms(crossed.trials, RELATIVE, arms, arms[0], crossed.study.sampling):
            comparison = summaries[alone.arm].comparison
            assert comparison.baseline == arms[0]
            assert comparison.change == alone.change
            p_values.append(alone.change.p)
    corrected = [row.comparison.p_holm for row in summaries.values() if row.comparison is not None]
    assert corrected == pytest.approx(holm(p_values))
    assert len(p_values) == 8


def test_an_arm_without_a_baseline_is_compared_with_none(tmp_path):
    """The dipole with lmax = 0 was left out, so that nothing has its target and the baseline's levels."""
    text = CROSSED.replace(
        "[replication]",
        "[design]\nwhere = [\"network.hidden.lmax > 0 or target.quantity != 'dipole'\"]\n\n[replication]",
    )
    rows = [row for row in crossed_rows() if row["arm"] != label(0, "dipole")]
    tables = crossed_tables(tmp_path, rows, text)
    results = analyse(tables)
    summaries = {row.arm: row for row in results.arms}
    for lmax in (1, 2):
        assert summaries[label(lmax, "dipole")].comparison is None
        assert any("not compared: no arm of its group" in flag for flag in summaries[label(lmax, "dipole")].flags)
    assert summaries[label(2, "energy")].comparison.baseline == label(0, "energy")
    cells = {row["arm"]: row["change, %"] for row in arm_table(results)}
    assert cells[label(1, "dipole")] == "–"
    assert cells[label(0, "energy")] == "baseline"
    page = words(report(tables))
    assert "dipole: none" in page
    assert set(benefit(tables)["target"]) == {"energy", "density", "quadrupole"}
    assert any("lowest observed mean of the relative error of the dipole" in told for told in findings(results))


def test_a_baseline_that_is_no_arm_is_a_mistake(crossed):
    with pytest.raises(TesseralError, match="expected a baseline among the arms, got 'x'"):
        compare_arms(crossed.trials, RELATIVE, [label(0, "energy")], {label(0, "energy"): "x"}, Sampling(4))


def test_the_confirm_stage_is_judged_alone(tuned, tuned_results):
    """Validation errors of the search are lower or higher than test errors, and change nothing."""
    without = tuned.trials.filter(pl.col("stage") == "confirm")
    arms = list(tuned.study.arms)
    assert arm_errors(tuned.trials, "test.l2_error", arms, Sampling(3)) == arm_errors(
        without, "test.l2_error", arms, Sampling(3)
    )
    assert compare_arms(tuned.trials, "test.l2_error", arms, arms[0], Sampling(3)) == compare_arms(
        without, "test.l2_error", arms, arms[0], Sampling(3)
    )
    assert [row.error.error.value for row in tuned_results.arms] == pytest.approx(
        [stats.gmean([at + 0.01 * block for block in range(3)]) for at in (0.6, 0.4)]
    )
    stands = tuned_results.progress
    assert (stands.planned, stands.complete, stands.pruned, stands.failed) == (6, 6, 0, 0)
    assert [row.failed for row in tuned_results.arms] == [0, 0]
