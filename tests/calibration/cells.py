"""The cells of the calibration: each simulates studies whose truth is known, and counts what is said of them."""

from collections.abc import Iterator

from tests.benchmarks.figures import Figure
from tests.calibration import claim_cells, interval_cells, search_cells

CELLS = (
    interval_cells.of_errors,
    interval_cells.of_many_arms,
    interval_cells.of_interquartile_means,
    interval_cells.of_new_data,
    interval_cells.of_these_data,
    interval_cells.of_allocation,
    search_cells.of_searches,
    search_cells.of_searches_on_new_data,
    search_cells.of_power,
    claim_cells.of_orders,
    claim_cells.of_first_screen,
    claim_cells.of_exponents,
    claim_cells.of_failing_starts,
)


def all_cells(studies: int) -> Iterator[Figure]:
    """Every figure of the calibration.

    :param studies: in a cell; fewer where a study takes longer.
    """
    for cell in CELLS:
        yield from cell(studies)
