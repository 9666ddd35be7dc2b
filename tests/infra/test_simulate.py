"""The simulation of a study on many GPUs, where its answer is known in closed form."""

import numpy as np
import pytest

from tests.benchmarks.simulate import REPORT_EVERY, Costs, drawn, simulate

FREE = Costs(start=0.0, told=0.0, worker=0.0, trial={}, waited={}, seal={}, page=0.0)


def costs(**given: object) -> Costs:
    return Costs(**(vars(FREE) | given))


def test_a_driver_that_costs_nothing_keeps_all_gpus_busy():
    found = simulate(FREE, [10.0] * 100, 10)
    assert found.seconds == found.ideal == 100.0
    assert found.driver == 0.0


def test_trials_that_take_no_time_take_the_drivers():
    assert simulate(costs(start=0.1), [0.0] * 100, 10).seconds == pytest.approx(10.0)


def test_the_driver_waits_for_the_storage_once_a_request():
    found = simulate(costs(waited={"PUT": 3.0, "GET": 2.0}), [0.0] * 100, 10, latency=0.02)
    assert found.seconds == pytest.approx(100 * 5 * 0.02)


def test_reports_of_running_trials_fill_a_core():
    """60 trials of 10 min, each with a report every half second of 1 ms, take 0.12 of a core."""
    found = simulate(costs(told=1e-3), [600.0] * 60, 60)
    assert found.driver == pytest.approx(60 * 1e-3 / REPORT_EVERY, rel=1e-6)


def test_requests_are_those_of_running_trials_and_of_ends():
    """100 trials of 10 min: a seal every 5 s, of which one in six is a checkpoint with three PUT requests."""
    found = simulate(costs(seal={"PUT": 3.0}), [600.0] * 100, 100)
    assert found.requests["PUT"] == pytest.approx(100 * (3 / 30 + 1 / 5 - 1 / 30))


def test_trials_are_drawn_from_those_recorded_longest_first():
    seconds = drawn(1000, 1.0)
    assert (np.diff(seconds) <= 0).all()
    assert 22 < seconds[-1] < seconds[0] < 75
