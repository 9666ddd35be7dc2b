"""The cells of the calibration: each simulates studies whose truth is known, and counts what is said of them."""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.statistics.best import best
from tesseral.analysis.statistics.order_trend import trends
from tesseral.analysis.statistics.scaling import size_curves
from tesseral.analysis.statistics.steps import steps
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.search_budget import default_repeats
from tests.benchmarks.figures import Figure
from tests.calibration import errors, ridge, tuning
from tests.calibration.allocation import sequential
from tests.calibration.feature_studies import arm_study, order_study, size_study
from tests.calibration.verdicts import Intervals, against_first, by_search, disagreement, intervals, names

SEED = 15
COVERAGE = (93.0, 97.0)
"""What coverage is to lie between, percent."""
CLAIMS = 5.5
"""Most studies of equal arms that may claim any difference, percent."""
CLAIMS_IQM = 6.5
"""The same with interquartile means, whose units are few."""
FROM = 6
"""Blocks from which on this is to hold."""
SIZES = ((36, 8, 12), (800, 100, 100))
"""Structures to train on, for validation and to test on."""
CHECKED = 12
"""Studies of a cell whose numbers are held against those of the project's own function."""
NO_DIFFERENCE = ("no better, and dearer", "no worse than δ", "no verdict")
"""Verdicts on a step that claim no difference in error."""
EXACT = 1e-9
"""Largest difference from them."""


def all_cells(studies: int) -> Iterator[Figure]:
    """Every figure of the calibration.

    :param studies: in a cell.
    """
    for part in (
        of_errors,
        of_many_arms,
        of_interquartile_means,
        of_new_data,
        of_these_data,
        of_allocation,
        of_searches,
        of_searches_on_new_data,
        of_power,
        of_orders,
        of_first_screen,
        of_exponents,
    ):
        yield from part(studies)


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
                yield _coverage(f"error of an arm: {where}", intervals(means[:, 1:2]), holds)
                yield _coverage(f"change of an arm, its baseline's errors normal: {where}", intervals(alone), holds)
                yield _coverage(f"change between arms alike: {where}", intervals(alike), holds)
                yield from _exact(where, intervals(alike), logs[:CHECKED, 1:], Sampling(number))


def of_many_arms(studies: int, arms: tuple[int, ...] = (2, 4, 10, 40)) -> Iterator[Figure]:
    """Claims between equal arms, over independent blocks."""
    for kind in errors.KINDS:
        for number in arms:
            for blocks in (3, FROM):
                rng = np.random.default_rng([SEED, errors.KINDS.index(kind), number, blocks, 1])
                few = max(1, studies * 4 // max(4, number))
                logs = errors.log_errors(rng, (kind,) * number, few, blocks, 1).mean(axis=3)
                where = f"{kind.name}; {number} arms, {blocks} blocks"
                yield _claims(where, intervals(against_first(logs)), blocks >= FROM)


def of_interquartile_means(studies: int, blocks: tuple[int, ...] = (6, 8, 10, 20)) -> Iterator[Figure]:
    """Changes of the interquartile mean, of which the truth is its own mean over studies; four arms alike."""
    for kind in errors.KINDS:
        for number in blocks:
            rng = np.random.default_rng([SEED, errors.KINDS.index(kind), number, 3])
            logs = errors.log_errors(rng, (errors.PLAIN, *4 * (kind,)), studies, number, 1).mean(axis=3)
            alone = intervals(against_first(logs[:, :2]), iqm=True)
            alike = intervals(against_first(logs[:, 1:]), iqm=True)
            where = f"interquartile mean, {kind.name}; {number} blocks"
            covered, (least, most) = alone.coverage(float(alone.mean.mean())), COVERAGE
            yield Figure(
                f"coverage, change of an arm, its baseline's errors normal: {where}", covered, "%", most, least
            )
            yield Figure(f"any claim, {where}, 4 arms", alike.any_claim, "%", CLAIMS_IQM)
            sampling = Sampling(number, aggregate="iqm")
            yield from _exact(where, alike, logs[:CHECKED, 1:], sampling)


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
            yield _coverage(f"change for new data: {where}", new, blocks >= FROM)
            yield _claims(f"for new data: {where}, 4 arms", new, holds=True)
            yield Figure(f"coverage of new data by the interval for these data: {where}", here.coverage(), "%")
            yield Figure(f"claims from the interval for these data: {where}, 4 arms", here.any_claim, "%")
            sampling = Sampling(blocks, overlaps=dict.fromkeys(names(4), overlap))
            yield from _exact(f"{where}, new data", new, logs[:CHECKED], sampling)
            yield from _exact(f"{where}, these data", here, logs[:CHECKED], sampling, here=True)


def of_these_data(studies: int, blocks: tuple[int, ...] = (3, 6, 10, 20)) -> Iterator[Figure]:
    """Four ridge regressions on data sets that stay; the truth is the mean over 600 splits of each data set."""
    size, splits = SIZES[0], 600
    rng = np.random.default_rng([SEED, *size, splits])
    ratios = against_first(ridge.log_errors(rng, max(1, studies // 100), 4, splits, size))
    centred = ratios - ratios.mean(axis=-1, keepdims=True)
    for number in blocks:
        groups = centred.reshape(*centred.shape[:2], -1, number).swapaxes(1, 2).reshape(-1, 3, number)
        where = f"for these data: ridge regression, {'/'.join(map(str, size))} structures; {number} blocks"
        found = intervals(groups)
        yield _coverage(f"change {where}", found, number >= FROM)
        yield _claims(f"{where}, 4 arms", found, number >= FROM)


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
            for share in precisions:
                precision = 100 * float(np.expm1(share * ratios.std()))
                where = f"sequential allocation to {share} standard deviations of a block: {kind.name}"
                yield _coverage(f"change {words}, {where}", sequential(ratios, precision), holds=not kind.fails)
    size, fewer = SIZES[0], 20
    rng = np.random.default_rng([SEED, *size, most])
    logs = ridge.log_errors(rng, max(1, studies // 2), 2, fewer, size)
    ratios = against_first(logs)[:, 0]
    for share in precisions:
        precision = 100 * float(np.expm1(share * ratios.std()))
        found = sequential(ratios, precision, size[2] / size[0])
        where = f"sequential allocation to {share} standard deviations of a block, for new data: ridge regression"
        yield _claims(where, found, holds=True)


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
                yield _claims(where, found, holds=True)
                yield Figure(f"coverage, change between tuned arms: {where}", found.coverage(), "%", least=COVERAGE[0])
                yield from _exact(where, found, logs[:CHECKED], Sampling(several, searches))
    for several in blocks:
        rng = np.random.default_rng([SEED, several])
        found = intervals(against_first(tuning.log_errors(rng, tuning.Design(4, 20, 1, several), studies)))
        yield Figure(f"claims if one search were enough: 4 arms, 20 proposals, {several} blocks", found.any_claim, "%")


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
        yield _claims(f"for new data: {where}", found, holds=True)
        yield Figure(f"coverage, change for new data: {where}", found.coverage(), "%", least=COVERAGE[0])
        sampling = Sampling(blocks, searches, dict.fromkeys(names(4), size[2] / size[0]))
        yield from _exact(f"{where}, new data", found, logs[:CHECKED], sampling)


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
                    power = 100 * float(intervals(ratios, overlap).claimed.mean())
                    where = f"4 arms tuned by {searches} searches of {budget} proposals in all; {number} blocks"
                    yield Figure(f"power for a change of {change} %, for {words}: {where}", power, "%")


def of_orders(studies: int) -> Iterator[Figure]:
    """What is claimed by order of the output, of three arms against a baseline, in six blocks.

    One call takes a tenth of a second, so there are fewer studies.
    """
    equal, benefit = np.ones((4, 4)), np.vstack([np.ones(4), np.full((3, 4), 0.6)])
    # At l = 0 nearly all of the error is one that no arm lowers, so a benefit there is hidden.
    hidden = np.vstack([[3.2, 1.0, 1.0, 1.0], *3 * [[3.16, 0.6, 0.6, 0.6]]])
    rng, few = np.random.default_rng([SEED, 5]), max(1, studies // 40)
    tested = [trends(order_study(rng, equal)) for _ in range(2 * few)]
    claims = [any(claim.holds for trend in study for claim in trend.claims) for study in tested]
    yield Figure("any claim by order of the output: 4 equal arms, 6 blocks", 100 * float(np.mean(claims)), "%", CLAIMS)
    for words, ratios in {"is the same at every order": benefit, "is hidden at l = 0": hidden}.items():
        tested = [trends(order_study(rng, ratios[:2])) for _ in range(few)]
        shapes = [any(trend.shape for trend in study) for study in tested]
        yield Figure(
            f"a shape is claimed where the benefit {words}: 6 blocks", 100 * float(np.mean(shapes)), "%", CLAIMS
        )


def of_first_screen(studies: int, arms: tuple[int, ...] = (4, 10)) -> Iterator[Figure]:
    """Claims of comparisons with a baseline, of steps between levels and of the best arms, between equal arms.

    That no step is worse by more than δ is true here, so such a verdict is no false claim.
    """
    for number in arms:
        rng = np.random.default_rng([SEED, number, 6])
        logs = errors.log_errors(rng, number * (errors.PLAIN,), studies, FROM, 1).mean(axis=3)
        upper, lower = np.triu_indices(number, 1)
        families = {
            "comparisons with a baseline": intervals(against_first(logs)),
            "steps between levels": intervals(np.diff(logs, axis=1)),
            "pairs that tell an arm from the best": intervals(logs[:, lower] - logs[:, upper]),
        }
        where = f"{number} equal arms, {FROM} blocks"
        for words, found in families.items():
            yield _claims(f"{words}: {where}", found, holds=True)
        either = np.any([found.claimed.any(axis=1) for found in families.values()], axis=0)
        yield Figure(f"any claim, of all three, each corrected apart: {where}", 100 * float(either.mean()), "%")
        _, between, pairs = families.values()
        for study in [*range(CHECKED), *np.flatnonzero(either)[:CHECKED]]:
            tables = arm_study(logs[study])
            told = [step.verdict not in ("undecided", *NO_DIFFERENCE) for step in steps(tables)]
            (lowest,) = best(tables)
            assert told == between.claimed[study].tolist()
            assert lowest.alike is not None
            assert (len(lowest.alike) < number - 1) == pairs.claimed[study].any()


def of_exponents(studies: int, curves: int = 4) -> Iterator[Figure]:
    """Exponents of the error against the size of the training set, of curves that are one power law."""
    sizes = (50, 100, 200, 400)
    rng = np.random.default_rng([SEED, curves, 7])
    logs = -0.4 * np.log(sizes)[:, None] + errors.log_errors(
        rng, curves * len(sizes) * (errors.PLAIN,), studies, FROM, 1
    ).reshape(studies, curves, len(sizes), FROM)
    x = np.log(sizes) - np.mean(np.log(sizes))
    slopes = -np.einsum("i,scib->scb", x, logs) / np.square(x).sum()
    exponents, differences = intervals(slopes), intervals(against_first(slopes))
    where = f"exponents of {curves} equal learning curves, {FROM} blocks"
    yield Figure(f"coverage, {where}", exponents.coverage(0.4), "%", COVERAGE[1], COVERAGE[0])
    yield _claims(f"differences between {where}", differences, holds=True)
    for study in [*range(CHECKED), *np.flatnonzero(differences.claimed.any(axis=1))[:CHECKED]]:
        first, *others = size_curves(size_study(logs[study], sizes))
        assert np.isclose(first.exponent.value, exponents.mean[study, 0])
        assert [each.p_holm < 0.05 for each in others] == differences.claimed[study].tolist()


def _coverage(what: str, found: Intervals, holds: bool) -> Figure:
    least, most = COVERAGE if holds else (None, None)
    return Figure(f"coverage, {what}", found.coverage(), "%", most, least)


def _claims(what: str, found: Intervals, holds: bool) -> Figure:
    return Figure(f"any claim, {what}", found.any_claim, "%", CLAIMS if holds else None)


def _exact(
    where: str, found: Intervals, logs: np.ndarray, sampling: Sampling, *, here: bool = False
) -> Iterator[Figure]:
    apart = disagreement(found, logs, sampling, here=here)
    yield Figure(f"difference from the project's own numbers: {where}", apart, "", EXACT)
