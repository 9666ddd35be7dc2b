"""Frames of numbers hold what the results hold, each estimate with both of its intervals."""

from dataclasses import replace

import polars as pl
import pytest

from tesseral.analysis.report.result_frames import result_frame
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.terms.estimate import Estimate
from tests.analysis.statistics.test_test_sets import tables_of


def test_arms_have_their_errors_and_bounds(results):
    frame = result_frame(results, "arms")
    assert frame["arm"].to_list() == [arm.arm for arm in results.arms]
    for row, arm in zip(frame.to_dicts(), results.arms, strict=True):
        error = arm.error.error
        assert (row["error"], row["error_low"], row["error_high"]) == (error.value, error.low, error.high)
        assert (row["error_low_here"], row["error_high_here"]) == (error.here.low, error.here.high)
        assert row["test.l2_error"] == arm.errors["l2_error"].error.value
        assert row["test.l2_error"] == pytest.approx(0.8 * row["error"])
    assert set(frame["unit"]) == {"%"}
    assert frame["parameters"].to_list() == [91_000, 163_000, 228_000, 281_000]


def test_the_unit_of_an_error_on_a_test_set_is_that_of_its_metric():
    frame = result_frame(analyse(tables_of("md.epsilon")), "arms")
    assert (set(frame["metric"]), set(frame["unit"])) == ({"md.epsilon"}, {"%"})
    assert "md.epsilon" not in frame.columns
    assert set(frame["md.l2_error_unit"]) == {"%"}


def test_the_error_is_by_the_metric_of_the_study_beside_one_that_is_called_error(crossed_results):
    for row, arm in zip(result_frame(crossed_results, "arms").to_dicts(), crossed_results.arms, strict=True):
        assert (row["metric"], row["unit"], row["error"]) == ("test.relative_error", "%", arm.error.error.value)
        if (measured := arm.errors.get("error")) is not None:
            assert (row["test.error"], row["test.error_unit"]) == (measured.error.value, measured.unit)
            assert row["test.error"] != row["error"]


def test_arms_of_several_targets_share_columns(crossed_results):
    frame = result_frame(crossed_results, "arms")
    assert frame.filter(pl.col("target") == "energy")["test.error_unit"].unique().to_list() == ["hartree"]
    assert frame.filter(pl.col("target") == "density")["test.error_unit"].null_count() == 3


def test_comparisons_are_in_percent_of_the_baseline(results):
    frame = result_frame(results, "comparisons")
    for row, each in zip(frame.to_dicts(), results.comparisons, strict=True):
        assert (row["arm"], row["baseline"]) == (each.arm, "lmax=0")
        assert (row["change"], row["p_holm"]) == (each.change.value, each.p_holm)


def test_trials_are_those_of_the_records(results):
    frame, trials = result_frame(results, "trials"), results.tables.trials
    assert frame.select(trials.columns).equals(trials)
    added = set(frame.columns) - set(trials.columns)
    assert added == {f"{column}_unit" for column in trials.columns if column.startswith("metric.")}
    assert frame["metric.test.epsilon_unit"].unique().to_list() == ["%"]


def test_the_unit_shown_stands_beside_each_error_of_trials_and_comparisons(crossed_results):
    shown = analyse(crossed_results.tables, units=["eV"])
    energies, recorded = (
        result_frame(each, "trials").filter(target="energy").drop_nulls("metric.test.error")
        for each in (shown, crossed_results)
    )
    assert len(energies) > 0
    assert set(recorded["metric.test.error_unit"]) == {"hartree"}
    assert set(energies["metric.test.error_unit"]) == {"eV"}
    assert set(energies["metric.test.relative_error_unit"]) == {"%"}
    ratios = energies["metric.test.error"] / recorded["metric.test.error"]
    assert ratios.to_list() == pytest.approx([27.211386245988] * len(ratios), rel=1e-12)
    assert set(result_frame(shown, "comparisons")["difference_unit"]) == {"%"}


def test_bounds_that_no_arm_has_are_numbers_all_the_same(results):
    """Tables of several studies can then be stacked."""
    none = [replace(arm, error=replace(arm.error, error=Estimate(1.0)), unreachable=None) for arm in results.arms]
    frame = result_frame(replace(results, arms=none), "arms")
    assert {frame.schema[name] for name in ("error_low", "error_high", "error_low_here")} == {pl.Float64}
    assert frame.schema["unreachable"] == pl.String
    assert pl.concat([frame, result_frame(results, "arms")]).height == 2 * len(results.arms)
