"""Arms are compared with the baseline of their group alone."""

from dataclasses import replace

import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import report
from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.arms import summarise_arms
from tesseral.analysis.statistics.comparisons.paired import arm_errors, compare_arms, holm
from tesseral.analysis.statistics.orders.benefit import benefit
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.errors import TesseralError
from tests.support.report_page import words
from tests.support.synthetic_study import (
    CROSSED,
    TARGETS,
    crossed_rows,
    crossed_tables,
    info,
    label,
    table,
    trial_rows,
)

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
    cells = {row["arm"]: row["change, %, new data"] for row in arm_table(results)}
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


SEARCHED = {"parameters": (9_000, 14_000, 11_000), "components": (120, 120, 120), "flops": (2_000_000, 8_000_000, None)}
"""Sizes of the networks that the three searches of lmax=1 chose."""


def searched(searches: int, **changes):
    """Two arms in six blocks; the searches of the second one chose different networks."""
    rows = [row for row in trial_rows(blocks=6, replicates=2) if row["arm"] in ("lmax=0", "lmax=1")]
    for row in rows:
        row |= {"parameters": 10_000, "components": 80, "flops": 1_000_000}
        if row["arm"] == "lmax=1":
            row |= {name: sizes[row["block"] % searches] for name, sizes in SEARCHED.items()} | changes
            row["residual"] = (0.001, -0.03, 0.02)[row["block"] % searches]
            row["dead"] = ("0o in layer 2 is never read", None, "1e in layer 1 is never produced")[
                row["block"] % searches
            ]
    return load(table(rows), [], [], info(arms=("lmax=0", "lmax=1"), blocks=6, searches=searches))


def test_sizes_are_the_median_and_range_over_what_searches_chose():
    results = analyse(searched(3))
    base, arm = results.arms
    assert (arm.parameters, arm.components, arm.flops, arm.parameters_live) == (11_000, 120, 2_000_000, None)
    assert arm.spans == {"parameters": (9_000, 14_000), "flops": (2_000_000, 8_000_000)}
    assert (arm.bounds("components"), arm.bounds("parameters_live")) == ((120, 120), None)
    assert (base.parameters, base.spans) == (10_000, {})
    assert arm.residual == -0.03
    assert arm.dead == "0o in layer 2 is never read; 1e in layer 1 is never produced"
    assert to_dict(results)["arms"][1]["spans"]["parameters"] == (9_000, 14_000)
    first, second = arm_table(results)
    assert (first["parameters"], second["parameters"]) == ("10,000", "11,000 (9,000–14,000)")
    assert second["FLOPs per step"] == "2.00 M (2.00 M–8.00 M)"
    assert any("not matched in size (9,000 to 14,000 parameters)" in told for told in findings(results))
    page = words(report(results.tables))
    assert "Sizes: the median over the networks that an arm’s searches chose, and the range where they differ." in page
    assert "Horizontal bars reach from the smallest to the largest network" in page
    assert "2,000 bootstrap draws over searches" in page


def test_a_replicate_or_a_block_more_of_one_search_moves_no_median():
    tables = searched(3)
    kept = (pl.col("block") != 5) & ~((pl.col("block") == 1) & (pl.col("replicate") == 1))
    assert summarise_arms(replace(tables, trials=tables.trials.filter(kept)))[1].parameters == 11_000


def test_of_two_searches_the_smaller_network_is_named():
    arm = summarise_arms(searched(2))[1]
    assert (arm.parameters, arm.spans["parameters"]) == (9_000, (9_000, 14_000))


def test_arms_of_one_size_have_no_range(results, page):
    assert all(not arm.spans for arm in results.arms)
    assert "Sizes: the median" not in page
