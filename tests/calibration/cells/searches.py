"""Cells of the calibration: arms that are tuned by independent searches."""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.search_budget import default_repeats
from tests.benchmarks.figures import Figure
from tests.calibration import thresholds
from tests.calibration.simulation import ridge, tuning
from tests.calibration.thresholds import SEED, claims, coverage, exact, share
from tests.calibration.verdicts import against_first, by_search, intervals, names


def of_searches(
    studies: int,
    arms: tuple[int, ...] = (2, 4, 10),
    proposals: tuple[int, ...] = (12, 20, 50),
    blocks: tuple[int, ...] = (4, 6, 12, 20),
) -> Iterator[Figure]:
    """Claims between arms that differ in nothing and are tuned by independent searches, of the default number."""
    for number in arms:
        for budget in proposals:
            for several in blocks:
                searches = default_repeats(budget, several)
                design = tuning.Design(number, budget, searches, several)
                rng = np.random.default_rng([SEED, number, budget, several])
                few = max(1, studies * 4 // max(4, number))
                logs = tuning.log_errors(rng, design, few)
                found = intervals(by_search(against_first(logs), searches))
                where = f"{number} arms tuned by {searches} searches of {budget} proposals in all; {several} blocks"
                yield claims(where, found)
                yield coverage(f"change between tuned arms: {where}", found)
                yield from exact(where, found, logs[: thresholds.CHECKED], Sampling(several, searches))
    for several in blocks:
        rng = np.random.default_rng([SEED, several])
        found = intervals(against_first(tuning.log_errors(rng, tuning.Design(4, 20, 1, several), studies)))
        yield claims(f"if one search were enough: 4 arms, 20 proposals, {several} blocks", found, holds=False)


def of_searches_on_new_data(
    studies: int, designs: tuple[tuple[int, int], ...] = ((20, 6), (50, 6), (50, 12), (50, 20))
) -> Iterator[Figure]:
    """Four tuned ridge regressions on data sets that are drawn anew: both sources of variation at once.

    :param designs: proposals and blocks.
    """
    size = (36, 8, 12)
    for proposals, blocks in designs:
        searches = default_repeats(proposals, blocks)
        design = tuning.Design(4, proposals, searches, blocks)
        rng = np.random.default_rng([SEED, proposals, blocks, 2])
        few = max(1, studies // 2)
        logs = ridge.log_errors(rng, few, 4, blocks, size) + tuning.regrets(rng, design, few)
        found = intervals(by_search(against_first(logs), searches), size[2] / size[0] * blocks / searches)
        where = (
            f"4 arms tuned by {searches} searches of {proposals} proposals in all, ridge regression; {blocks} blocks"
        )
        yield claims(f"for new data: {where}", found)
        yield coverage(f"change for new data: {where}", found)
        sampling = Sampling(blocks, searches, dict.fromkeys(names(4), size[2] / size[0]))
        yield from exact(f"{where}, new data", found, logs[: thresholds.CHECKED], sampling)


def of_power(
    studies: int, proposals: tuple[int, ...] = (20, 50, 100), blocks: tuple[int, ...] = (6, 12, 20)
) -> Iterator[Figure]:
    """How often a true change of 10 or 20 % is claimed, between tuned arms, for these data and for new data.

    One test structure for ten training structures is assumed for new data.
    """
    for budget in proposals:
        for number in blocks:
            searches = default_repeats(budget, number)
            rng = np.random.default_rng([SEED, budget, number, 4])
            logs = tuning.log_errors(rng, tuning.Design(4, budget, searches, number), max(1, studies // 4))
            for change in (10, 20):
                ratios = by_search(against_first(logs) + np.log(1 - change / 100), searches)
                for words, overlap in (("these data", 0.0), ("new data", 0.1 * number / searches)):
                    where = f"4 arms tuned by {searches} searches of {budget} proposals in all; {number} blocks"
                    claimed = intervals(ratios, overlap).claimed
                    yield share(f"power for a change of {change} %, for {words}: {where}", claimed)
