"""The figure of the error against the size of the training set: its points, its lines, its place in the report."""

import numpy as np
import pytest

from tesseral.analysis.figures.size_figures import size_figures
from tesseral.analysis.report.report import render
from tesseral.analysis.statistics.comparisons.scaling import size_curves
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.terms.estimate import interval
from tests.analysis.statistics.comparisons.test_scaling import SIZES, of_errors, power
from tests.support.report_page import tooltips


@pytest.fixture(scope="module")
def measured():
    draw = np.random.default_rng(1)
    return of_errors({"0": power(draw, 0.3), "1": power(draw, 0.5)})


def test_points_lines_and_exponents_are_those_of_the_curves(measured):
    curves = size_curves(measured)
    (figure,) = size_figures(measured.study, curves)
    told = tooltips(figure)
    for curve in curves:
        assert told.count(f"{curve.name}: α = {interval(curve.exponent)}") == 1  # its line
        for size, arm in curve.arms.items():
            assert told.count(f"{arm}: {interval(curve.errors[size], '%')}") == 2  # its diamond and its bar
    lines = next(rows for rows in figure.chart.to_dict()["datasets"].values() if len(rows) == 4)
    assert [row["error"] for row in lines] == pytest.approx(
        [curve.fitted(size) for curve in curves for size in (SIZES[0], SIZES[-1])]
    )


def test_the_axes_are_logarithmic_with_a_tick_at_each_size(measured):
    (figure,) = size_figures(measured.study, size_curves(measured))
    encoding = figure.chart.to_dict()["layer"][0]["encoding"]
    assert [encoding[axis]["scale"]["type"] for axis in "xy"] == ["log", "log"]
    assert encoding["x"]["axis"]["values"] == list(SIZES)


def test_the_report_shows_it_where_sizes_are_a_factor(measured, page):
    shown = render(analyse(measured))
    assert shown.count('<figure id="error-by-size">') == 1
    assert "error-by-size" not in page
