"""The calibration: cells that simulate studies whose truth is known, and count what is said of them."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

from tests.benchmarks.figures import Figure
from tests.calibration.cells import claims, effects, intervals, searches, trainings

Cell = Callable[[int], Iterator[Figure]]
"""Takes the number of studies that it simulates of each kind; fewer where a study takes longer."""

TRAINED: dict[str, Cell] = {
    f"trained {words}": partial(trainings.of_equal_arms, words=words) for words in trainings.STUDIES
}
"""The cells that train, by name."""
CELLS: dict[str, Cell] = TRAINED | {
    "steps and orders": effects.of_steps_and_orders,
    "orders": claims.of_orders,
    "new data": intervals.of_new_data,
    "effects": effects.of_effects,
    "searches": searches.of_searches,
    "errors": intervals.of_errors,
    "many arms": intervals.of_many_arms,
    "interquartile means": intervals.of_interquartile_means,
    "these data": intervals.of_these_data,
    "allocation": intervals.of_allocation,
    "searches on new data": searches.of_searches_on_new_data,
    "power of searches": searches.of_power,
    "first screen": claims.of_first_screen,
    "exponents": claims.of_exponents,
    "failing starts": claims.of_failing_starts,
}
"""All cells, the long ones first."""


def calibrate(names: list[str], studies: int, processes: int) -> Iterator[list[Figure]]:
    """Run cells side by side, and yield the figures of each as it ends.

    :param names: of `CELLS`.
    :param studies: of each kind.
    :param processes: number of cells that run at the same time, each on one core.
    """
    if TRAINED.keys() & set(names):
        trainings.make_reference()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(figures, name, studies): name for name in names}
        for ended in as_completed(running):
            try:
                yield ended.result()
            except Exception as error:  # noqa: BLE001 - the other cells go on
                yield [Figure(f"errors in the cell {running[ended]}: {error!r}", 1, "", 0)]


def figures(name: str, studies: int) -> list[Figure]:
    """The figures of one cell, and the processor time that it took."""
    start = time.process_time()
    made = list(CELLS[name](studies))
    return [*made, Figure(f"processor time of the cell {name}", time.process_time() - start, "s")]
