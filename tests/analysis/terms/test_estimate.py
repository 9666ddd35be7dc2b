"""Estimates as text: the digits follow the interval."""

import pytest

from tesseral.analysis.terms.estimate import Estimate, interval, number
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.wording import duration


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.30213, 0.28341, 0.32096), "0.302 % [0.283, 0.321]"),
        (Estimate(12.3456), "12.3 %"),
        (Estimate(-9.99999, -10.00001, -9.99998), "−10.00 % [−10.00, −10.00]"),
        (Estimate(123456.0, 120000.0, 127000.0), "123,456 % [120,000, 127,000]"),
        (Estimate(2.1e-8, 1.9e-8, 2.3e-8), "2.10 [1.90, 2.30]·10⁻⁸ %"),
        (Estimate(0.0, 0.0, 0.0), "0 % [0, 0]"),
    ],
)
def test_digits_follow_the_interval(estimate, text):
    assert interval(estimate, "%") == text


def test_small_wording():
    assert number(-0.0001, 2) == "0.00"
    assert number(3.0, 1, signed=True) == "+3.0"
    assert [duration(s) for s in (4.21, 75.2, 1000, 9000)] == ["4.2 s", "75 s", "17 min", "2.5 h"]
    assert describe("test.epsilon").axis == "density error ε, %"
    assert describe("validation.own_metric").title == "Own_metric (validation)"
