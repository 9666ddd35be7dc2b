"""Cells of the calibration: what is claimed by order, by step, of the best arm, of exponents and of outlying trials."""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.statistics.comparisons.best import best
from tesseral.analysis.statistics.comparisons.outliers import failing_starts, largest_rate, matters
from tesseral.analysis.statistics.comparisons.scaling import size_curves
from tesseral.analysis.statistics.comparisons.steps import steps
from tests.benchmarks.figures import Figure
from tests.calibration import thresholds
from tests.calibration.first_screen import EARNS, SLIGHT, WORSE, differs, order_claims, step_verdicts
from tests.calibration.simulation import errors
from tests.calibration.simulation.studies import arm_study, order_errors, order_study, size_study
from tests.calibration.thresholds import CLAIMS, COVERAGE, FROM, SEED, claims, coverage, share
from tests.calibration.verdicts import against_first, intervals, outlying

NO_DIFFERENCE = ("no better, and dearer", "no worse than δ", "no verdict")
"""Verdicts on a step that claim no difference in error."""
DELTA = 2.0
"""`study.margin`, percent."""


def of_orders(studies: int) -> Iterator[Figure]:
    """What is claimed by order of the output, and by step, of three arms against a baseline, in six blocks.

    The first screen tells both, and they share one level of significance.
    """
    rng = np.random.default_rng([SEED, 5])
    logs = order_errors(rng, np.ones((4, 4)), studies)
    by_step, by_order = step_verdicts(logs.mean(axis=3), DELTA), order_claims(logs)
    yield share("any claim by order of the output: 4 equal arms, 6 blocks", order_claims(logs, 1).any, CLAIMS)
    together = by_order.any | np.isin(by_step, (EARNS, WORSE, SLIGHT)).any(axis=1)
    words = "any claim of the first screen, by step or by order: 4 equal arms, 6 blocks"
    yield share(words, together, CLAIMS)
    yield alike_told("4 equal arms", logs, together)
    benefit = np.vstack([np.ones(4), np.full(4, 0.6)])
    # At l = 0 nearly all of the error is one that no arm lowers, so a benefit there is hidden.
    hidden = np.vstack([[3.2, 1.0, 1.0, 1.0], [3.16, 0.6, 0.6, 0.6]])
    for words, ratios in {"is the same at every order": benefit, "is hidden at l = 0": hidden}.items():
        logs = order_errors(rng, ratios, studies)
        shaped = order_claims(logs, 1).shaped[:, 0]
        yield share(f"a shape is claimed where the benefit {words}: 6 blocks", shaped, CLAIMS)
        yield alike_told(f"a benefit that {words}", logs, shaped)


def alike_told(where: str, logs: np.ndarray, claimed: np.ndarray) -> Figure:
    """How many studies are told otherwise than by the project: of the first ones, and of the first with a claim.

    :param logs: logarithms of relative errors in percent, of shape (studies, arms, blocks, orders).
    :param claimed: of shape (studies,).
    """
    verdicts, found = step_verdicts(logs.mean(axis=3), DELTA), order_claims(logs)
    checked = {*range(min(thresholds.CHECKED, len(logs))), *np.flatnonzero(claimed)[: thresholds.CHECKED].tolist()}
    differing = sum(differs(order_study(logs[study]), verdicts, found, study) for study in checked)
    return Figure(f"studies told otherwise than by the project: {where}", differing, "", 0)


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
            yield claims(f"{words}: {where}", found)
        either = np.any([found.claimed.any(axis=1) for found in families.values()], axis=0)
        yield share(f"any claim, of all three, each corrected apart: {where}", either)
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
    yield coverage(where, exponents, 0.4)
    yield claims(f"differences between {where}, and bends", tested)
    for study in [*range(thresholds.CHECKED), *np.flatnonzero(tested.claimed.any(axis=1))[: thresholds.CHECKED]]:
        first, *others = size_curves(size_study(logs[study], sizes))
        assert np.isclose(first.exponent.value, exponents.mean[study, 0])
        told = [*(each.p_holm < 0.05 for each in others), *(each.p_bent < 0.05 for each in (first, *others))]
        assert told == tested.claimed[study].tolist()


def of_failing_starts(studies: int, blocks: tuple[int, ...] = (4, 6, 10, 20, 240)) -> Iterator[Figure]:
    """What is told of an arm of which one start in ten fails, beside three arms of which none does.

    Few blocks show too few failing starts for an interval to cover their mean. So a report tells of starts that are
    seen to fail, and, as long as a share that matters is not excluded, how many may fail unseen.
    """
    frequent = next(kind for kind in errors.KINDS if kind.fails)
    for number, kind in [*((number, frequent) for number in blocks), (blocks[-1], errors.RARELY)]:
        rng = np.random.default_rng([SEED, number, 8])
        few = max(1, min(studies, 400_000 // number))
        logs = errors.log_errors(rng, (*3 * (errors.PLAIN,), kind), few, number, 1)[..., 0]
        flagged = outlying(logs)
        for study in range(min(thresholds.CHECKED, few)):
            told = {found.arm for found in failing_starts(arm_study(logs[study]))}
            assert told == {f"lmax={arm}" for arm in np.flatnonzero(flagged[study])}
        found = intervals(logs[:, 3:] - logs[:, :1])
        covered, seen, where = found.covers()[:, 0], flagged[:, 3], f"{kind.name}; {number} blocks"
        warned = seen | matters(largest_rate(number), DELTA)
        yield share(f"arms with an outlying trial: {where}", seen)
        yield share(f"an outlying trial of three arms that do not fail: {where}", flagged[:, :3].any(axis=1), CLAIMS)
        yield share(f"mean covered: {where}", covered)
        yield share(f"mean covered, or an outlying trial told: {where}", covered | seen)
        yield share(
            f"mean covered, or the report warns of failing starts: {where}", covered | warned, None, COVERAGE[0]
        )
        if not seen.all():
            alone = found.covers(-kind.mean)[~seen]
            yield share(f"coverage of starts that do not fail, where no trial is outlying: {where}", alone)
