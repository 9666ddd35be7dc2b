"""The simulation of a study on many GPUs, where its answer is known in closed form."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.simulate import KEY, LATENCY, START, TOLD, Costs, drawn, simulate

FREE = Costs(start=0.0, told=0.0, worker=0.0, trial={}, waited={}, aside={}, seal={}, page=0.0)


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


@pytest.mark.parametrize(("trials", "share"), [(40, 0.08), (60, 0.1), (1000, 0.1)])
def test_reports_of_running_trials_take_a_tenth_of_a_core_at_most(trials, share):
    """Trials of 10 min, each with a report of 1 ms every half second, but 100 reports a second by all together."""
    found = simulate(costs(told=1e-3), [600.0] * trials, trials)
    assert found.driver == pytest.approx(share, rel=1e-6)


def test_requests_are_those_of_running_trials_and_of_ends():
    """100 trials of 10 min: a seal every 5 s, of which one in six is a checkpoint with three PUT requests."""
    found = simulate(costs(seal={"PUT": 3.0}), [600.0] * 100, 100)
    assert found.requests["PUT"] == pytest.approx(100 * (3 / 30 + 1 / 5 - 1 / 30))


def test_trials_are_drawn_from_those_recorded_longest_first():
    seconds = drawn(1000, 1.0)
    assert (np.diff(seconds) <= 0).all()
    assert 22 < seconds[-1] < seconds[0] < 75


COUNTED = Costs(
    START,
    TOLD,
    worker=0.0,
    trial={"PUT": 7.0, "GET": 9.0, "LIST": 16.0, "DELETE": 2.0},
    waited={"PUT": 1.0, "GET": 0.05, "LIST": 0.05},
    aside={"GET": 3.0, "LIST": 2.0},
    seal={"PUT": 3.0, "GET": 3.0, "LIST": 2.0, "DELETE": 3.0},
    page=KEY,
)
"""What `make simulate` counted."""


def test_the_table_of_the_page_is_what_the_simulation_gives():
    text = (Path(__file__).parents[2] / "infra" / "scale.md").read_text()
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    told = {row[0]: [float(cell.replace(",", "")) for cell in row[1:]] for row in table[1:]}
    found: dict[str, list[float]] = {}
    for gpus in (100, 1000, 4000):
        short, long = (simulate(COUNTED, list(drawn(10_000, longer)), gpus, LATENCY) for longer in (1.0, 60.0))
        for name, value in {
            "time over the ideal, as recorded": short.seconds / short.ideal,
            "time over the ideal, 60 × longer": long.seconds / long.ideal,
            "driver's core asked for, 60 × longer": long.driver,
            "PUT a second, 60 × longer": long.requests["PUT"],
            "GET and LIST a second, 60 × longer": long.requests["GET"] + long.requests["LIST"],
        }.items():
            found.setdefault(name, []).append(value)
    assert told == {name: pytest.approx(values, rel=0.01) for name, values in found.items()}
