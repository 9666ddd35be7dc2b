"""The table of errors by test set, and what the page says beside it."""

from tesseral.analysis.report.findings import limits
from tesseral.analysis.report.report import render
from tesseral.analysis.report.set_table import set_table
from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.results import analyse
from tests.analysis.statistics.test_test_sets import tables_of


def test_a_row_is_one_metric_of_one_arm_on_one_set():
    rows = set_table(analyse(tables_of()))
    assert len(rows) == 16
    (row,) = [row for row in rows if (row["metric"], row["on"], row["arm"]) == ("density error ε", "md", "lmax=0")]
    assert row["change, %"] == "baseline"
    assert row["error"].startswith("1.")
    (row,) = [row for row in rows if (row["metric"], row["on"], row["arm"]) == ("density error ε", "md", "lmax=1")]
    assert row["change, %"].startswith("−")
    assert "[" in row["change, %"]


def test_the_page_has_the_table_and_says_what_its_intervals_hold_for():
    results = analyse(tables_of("md.epsilon"))
    page = render(results)
    assert "<h2>Test sets</h2>" in page
    assert "on the test set md, averaged" in page
    assert "the density error ε on md" in page
    told = "All blocks are tested on the structures of the test set md: intervals hold for these data, and no verdict"
    assert any(told in sentence for sentence in limits(results))
    assert len(to_dict(results)["test_sets"]) == 16


def test_a_study_without_test_sets_has_no_table():
    results = analyse(tables_of(tests=()))
    assert set_table(results) == []
    assert "<h2>Test sets</h2>" not in render(results)
