"""Every metric that is recorded stands in the report, in the units that are asked for."""

import re

import pytest

from tesseral.analysis.report.metric_table import metric_meanings, metric_table
from tesseral.analysis.report.report import render
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.terms.estimate import interval
from tests.support.dipole_study import RELATIVE, dipole_tables


def test_each_metric_has_a_column(results, page):
    rows = metric_table(results)
    assert [row["arm"] for row in rows] == [arm.arm for arm in results.arms]
    assert list(rows[0])[1:] == ["density error ε, %", "L² error of the density, %"]
    assert rows[1]["L² error of the density, %"] == interval(results.arms[1].errors["l2_error"].error)
    text = re.sub(r"<[^>]+>", "", page)
    for row in rows:
        assert all(cell in text for cell in row.values())
    assert [name for name, _ in metric_meanings(results)] == ["density error ε", "L² error of the density"]


def test_columns_name_the_unit_that_is_asked_for():
    tables = dipole_tables(RELATIVE)
    atomic, debye = (analyse(tables, [unit]) for unit in ("atomic", "debye"))
    assert list(metric_table(atomic)[0])[1:] == ["relative error, %", "error, e bohr"]
    assert list(metric_table(debye)[0])[1:] == ["relative error, %", "error, debye"]
    for one, other in zip(atomic.arms, debye.arms, strict=True):
        assert other.errors["error"].error.value == pytest.approx(2.541746 * one.errors["error"].error.value, rel=1e-6)
        assert other.errors["relative_error"] == one.errors["relative_error"]
    assert "debye" in render(debye)
