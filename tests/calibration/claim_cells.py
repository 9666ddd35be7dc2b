"""Cells of the calibration: what is claimed by order, by step, of the best arm, of exponents and of outlying trials."""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.statistics.comparisons.best import best
from tesseral.analysis.statistics.comparisons.outliers import failing_starts
from tesseral.analysis.statistics.comparisons.scaling import size_curves
from tesseral.analysis.statistics.comparisons.steps import steps
from tesseral.analysis.statistics.orders.order_trend import trends
from tests.benchmarks.figures import Figure
from tests.calibration import errors, thresholds
from tests.calibration.feature_studies import arm_study, order_study, size_study
from tests.calibration.thresholds import CLAIMS, COVERAGE, FROM, SEED, claims
from tests.calibration.verdicts import against_first, intervals, outlying

NO_DIFFERENCE = ("no better, and dearer", "no worse than δ", "no verdict")
"""Verdicts on a step that claim no difference in error."""


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
    yield from _of_both(rng, 2 * few)
    for words, ratios in {"is the same at every order": benefit, "is hidden at l = 0": hidden}.items():
        tested = [trends(order_study(rng, ratios[:2])) for _ in range(few)]
        shapes = [any(trend.shape for trend in study) for study in tested]
        yield Figure(
            f"a shape is claimed where the benefit {words}: 6 blocks", 100 * float(np.mean(shapes)), "%", CLAIMS
        )


def _of_both(rng: np.random.Generator, studies: int) -> Iterator[Figure]:
    """What the first screen claims of equal arms by steps and by order together: two questions share one level."""
    claims = []
    for tables in (order_study(rng, np.ones((4, 4))) for _ in range(studies)):
        differ = any(step.verdict not in ("undecided", *NO_DIFFERENCE) for step in steps(tables, 2))
        claims.append(differ or any(claim.holds for trend in trends(tables) for claim in trend.among(2).claims))
    words = "any claim of the first screen, by step or by order: 4 equal arms, 6 blocks"
    yield Figure(words, 100 * float(np.mean(claims)), "%", CLAIMS)


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
            yield claims(f"{words}: {where}", found, holds=True)
        either = np.any([found.claimed.any(axis=1) for found in families.values()], axis=0)
        yield Figure(f"any claim, of all three, each corrected apart: {where}", 100 * float(either.mean()), "%")
        _, between, pairs = families.values()
        for study in [*range(thresholds.CHECKED), *np.flatnonzero(either)[: thresholds.CHECKED]]:
            tables = arm_study(logs[study])
            told = any(step.verdict not in ("undecided", *NO_DIFFERENCE) for step in steps(tables))
            (lowest,) = best(tables)
            assert told == between.claimed[study].any()
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
    bends = np.einsum("i,scib->scb", np.linalg.pinv(np.vander(x, 3))[0], logs)
    exponents, tested = intervals(slopes), intervals(np.concatenate([against_first(slopes), bends], axis=1))
    where = f"exponents of {curves} equal learning curves, {FROM} blocks"
    yield Figure(f"coverage, {where}", exponents.coverage(0.4), "%", COVERAGE[1], COVERAGE[0])
    yield claims(f"differences between {where}, and bends", tested, holds=True)
    for study in [*range(thresholds.CHECKED), *np.flatnonzero(tested.claimed.any(axis=1))[: thresholds.CHECKED]]:
        first, *others = size_curves(size_study(logs[study], sizes))
        assert np.isclose(first.exponent.value, exponents.mean[study, 0])
        told = [*(each.p_holm < 0.05 for each in others), *(each.p_bent < 0.05 for each in (first, *others))]
        assert told == tested.claimed[study].tolist()


def of_failing_starts(studies: int, blocks: tuple[int, ...] = (4, 6, 10, 20)) -> Iterator[Figure]:
    """Outlying trials of an arm of which one start in ten fails, beside three arms of which none does.

    Where no start happened to fail none can be flagged, and the interval holds for starts that do not fail.
    """
    kind = errors.KINDS[-1]
    for number in blocks:
        rng = np.random.default_rng([SEED, number, 8])
        logs = errors.log_errors(rng, (*3 * (errors.PLAIN,), kind), studies, number, 1)[..., 0]
        flagged = outlying(logs)
        for study in range(thresholds.CHECKED):
            told = {found.arm for found in failing_starts(arm_study(logs[study]))}
            assert told == {f"lmax={arm}" for arm in np.flatnonzero(flagged[study])}
        found = intervals(logs[:, 3:] - logs[:, :1])
        distance, half, unseen = found.mean[:, 0], found.half[:, 0], ~flagged[:, 3]
        told, alone = (np.abs(distance) <= half) | ~unseen, np.abs(distance + kind.mean) <= half
        where = f"{kind.name}; {number} blocks"
        yield Figure(f"arms with an outlying trial: {where}", 100 * float(flagged[:, 3].mean()), "%")
        wrong = 100 * float(flagged[:, :3].any(axis=1).mean())
        yield Figure(f"an outlying trial of three arms that do not fail: {where}", wrong, "%", CLAIMS)
        yield Figure(f"mean covered, or an outlying trial told: {where}", 100 * float(told.mean()), "%")
        seldom = 100 * float(alone[unseen].mean())
        yield Figure(f"coverage of starts that do not fail, where no trial is outlying: {where}", seldom, "%")
