"""Cells of the calibration: how often intervals hold, over independent blocks, on new data and on these data."""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.terms.sampling import Sampling
from tests.benchmarks.figures import Figure
from tests.calibration import thresholds
from tests.calibration.allocation import sequential
from tests.calibration.simulation import errors, ridge
from tests.calibration.thresholds import CLAIMS, COVERAGE, FROM, SEED, SIZES, claims, coverage, exact, share
from tests.calibration.verdicts import against_first, intervals, names


def of_errors(studies: int, blocks: tuple[int, ...] = (3, 4, 6, 10, 20)) -> Iterator[Figure]:
    """Means of arms and changes between arms, over independent blocks with errors of several kinds."""
    for kind in errors.KINDS:
        for number in blocks:
            for replicates in (1, 3):
                rng = np.random.default_rng([SEED, errors.KINDS.index(kind), number, replicates])
                logs = errors.log_errors(rng, (errors.PLAIN, kind, kind), studies, number, replicates)
                where = f"{kind.name}; {number} blocks, {replicates} replicates"
                means = logs.mean(axis=3)
                alone, alike = against_first(means[:, :2]), against_first(means[:, 1:])
                holds = number >= FROM and not kind.fails
                yield coverage(f"error of an arm: {where}", intervals(means[:, 1:2]), holds=holds)
                one = f"change of an arm, its baseline's errors normal: {where}"
                yield coverage(one, intervals(alone), holds=holds)
                yield coverage(f"change between arms alike: {where}", intervals(alike), holds=holds)
                yield from exact(where, intervals(alike), logs[: thresholds.CHECKED, 1:], Sampling(number))


def of_many_arms(studies: int, arms: tuple[int, ...] = (2, 4, 10, 40)) -> Iterator[Figure]:
    """Claims between equal arms, over independent blocks."""
    for kind in errors.KINDS:
        for number in arms:
            for blocks in (3, FROM):
                rng = np.random.default_rng([SEED, errors.KINDS.index(kind), number, blocks, 1])
                few = max(1, studies * 4 // max(4, number))
                logs = errors.log_errors(rng, (kind,) * number, few, blocks, 1).mean(axis=3)
                where = f"{kind.name}; {number} arms, {blocks} blocks"
                yield claims(where, intervals(against_first(logs)), holds=blocks >= FROM)


def of_interquartile_means(studies: int, blocks: tuple[int, ...] = (6, 8, 9, 12, 20)) -> Iterator[Figure]:
    """Changes of the interquartile mean, of which the truth is its own mean over studies; four arms alike."""
    for kind in errors.KINDS:
        for number in blocks:
            rng = np.random.default_rng([SEED, errors.KINDS.index(kind), number, 3])
            logs = errors.log_errors(rng, (errors.PLAIN, *4 * (kind,)), studies, number, 1).mean(axis=3)
            alone = intervals(against_first(logs[:, :2]), iqm=True)
            alike = intervals(against_first(logs[:, 1:]), iqm=True)
            where = f"interquartile mean, {kind.name}; {number} blocks"
            one = f"change of an arm, its baseline's errors normal: {where}"
            yield coverage(one, alone, float(alone.mean.mean()))
            yield claims(f"{where}, 4 arms", alike)
            sampling = Sampling(number, aggregate="iqm")
            yield from exact(where, alike, logs[: thresholds.CHECKED, 1:], sampling)


def of_new_data(studies: int, sizes: tuple[tuple[int, int, int], ...] = SIZES) -> Iterator[Figure]:
    """Four ridge regressions on data sets that are drawn anew; their error over new data sets is equal."""
    for size in sizes:
        overlap = size[2] / size[0]
        few = max(1, studies * 56 // max(112, sum(size)))
        for blocks in (3, 6, 10, 20):
            rng = np.random.default_rng([SEED, *size, blocks])
            logs = ridge.log_errors(rng, few, 4, blocks, size)
            ratios = against_first(logs)
            where = f"ridge regression, {'/'.join(map(str, size))} structures; {blocks} blocks"
            new, here = intervals(ratios, overlap), intervals(ratios)
            yield coverage(f"change for new data: {where}", new, holds=blocks >= FROM)
            yield claims(f"for new data: {where}, 4 arms", new)
            yield share(f"coverage of new data by the interval for these data: {where}", here.covers())
            yield claims(f"from the interval for these data: {where}, 4 arms", here, holds=False)
            sampling = Sampling(blocks, overlaps=dict.fromkeys(names(4), overlap))
            yield from exact(f"{where}, new data", new, logs[: thresholds.CHECKED], sampling)
            yield from exact(f"{where}, these data", here, logs[: thresholds.CHECKED], sampling, here=True)


def of_these_data(studies: int, blocks: tuple[int, ...] = (3, 6, 10, 20)) -> Iterator[Figure]:
    """Four ridge regressions on data sets that stay; the truth is the mean over 600 splits of each data set."""
    size, splits = SIZES[0], 600
    rng = np.random.default_rng([SEED, *size, splits])
    ratios = against_first(ridge.log_errors(rng, max(1, studies // 100), 4, splits, size))
    centred = ratios - ratios.mean(axis=-1, keepdims=True)
    for number in blocks:
        groups = centred.reshape(*centred.shape[:2], -1, number).swapaxes(1, 2)
        where = f"for these data: ridge regression, {'/'.join(map(str, size))} structures; {number} blocks"
        found, (least, most) = intervals(groups.reshape(-1, 3, number)), COVERAGE if number >= FROM else (None, None)
        # The splits of a data set are drawn together, so a row for each data set.
        covered, claimed = (said.reshape(len(groups), -1) for said in (found.covers(), found.claimed.any(axis=1)))
        yield share(f"coverage, change {where}", covered, most, least)
        yield share(f"any claim, {where}, 4 arms", claimed, CLAIMS if number >= FROM else None)


def of_allocation(studies: int, precisions: tuple[float, ...] = (0.3, 0.5, 1.0), most: int = 60) -> Iterator[Figure]:
    """Changes whose blocks were added until the interval was narrow enough, at most `most`.

    :param precisions: half-widths at which the allocation stops, in standard deviations of a log ratio.
    """
    for kind in errors.KINDS:
        rng = np.random.default_rng([SEED, errors.KINDS.index(kind), most])
        logs = errors.log_errors(rng, (errors.PLAIN, kind, kind), studies, most, 1).mean(axis=3)
        for words, pair in (
            ("of an arm, its baseline's errors normal", logs[:, :2]),
            ("between arms alike", logs[:, 1:]),
        ):
            ratios = against_first(pair)[:, 0]
            for half in precisions:
                precision = 100 * float(np.expm1(half * ratios.std()))
                where = f"sequential allocation to {half} standard deviations of a block: {kind.name}"
                yield coverage(f"change {words}, {where}", sequential(ratios, precision), holds=not kind.fails)
    size, fewer = SIZES[0], 20
    rng = np.random.default_rng([SEED, *size, most])
    logs = ridge.log_errors(rng, max(1, studies // 2), 2, fewer, size)
    ratios = against_first(logs)[:, 0]
    for half in precisions:
        precision = 100 * float(np.expm1(half * ratios.std()))
        found = sequential(ratios, precision, size[2] / size[0])
        where = f"sequential allocation to {half} standard deviations of a block, for new data: ridge regression"
        yield claims(where, found)
