"""Cells of the calibration: true effects of several factors, and true differences by step and by order."""

from collections.abc import Iterator

import numpy as np

from tesseral.analysis.statistics.comparisons.factors import effects
from tests.benchmarks.figures import Figure
from tests.calibration import thresholds
from tests.calibration.cells.claims import DELTA, alike_told
from tests.calibration.first_screen import DEARER, EARNS, SLIGHT, WORSE, OrderClaims, order_claims, step_verdicts
from tests.calibration.simulation import errors
from tests.calibration.simulation.designs import DESIGNS, Design
from tests.calibration.simulation.studies import factor_study, order_errors
from tests.calibration.thresholds import CLAIMS, EXACT, FROM, SEED, coverage, share
from tests.calibration.verdicts import Intervals, intervals

CHANGE = 0.8
"""The error that a true effect leaves, as a share."""
STEPS = np.log([0.6, 1.02, 1.0])
"""True changes of l_max 1 against 0, 2 against 1 and 3 against 2: 40 % lower, higher by just δ, and none."""


def of_effects(studies: int, blocks: tuple[int, ...] = (FROM, 20)) -> Iterator[Figure]:
    """Main effects and interactions where nothing, one factor, or two factors together lower the error by 20 %.

    What one factor does in one combination alone is half an effect of each of the two, and an interaction.
    """
    for design in DESIGNS:
        levels = np.array(design.arms)
        truths = {
            "no effect": np.zeros(len(levels)),
            "one factor has an effect": np.log(CHANGE) * (levels[:, 0] == 1),
            "two factors interact": np.log(CHANGE) * (levels[:, :2] == 1).all(axis=1),
        }
        for kind in (kind for kind in errors.KINDS if not kind.fails):
            for number in blocks:
                rng = np.random.default_rng([SEED, DESIGNS.index(design), errors.KINDS.index(kind), number])
                logs = errors.log_errors(rng, len(levels) * (kind,), studies, number, 1).mean(axis=3)
                for words, means in truths.items():
                    where = f"{design.name} arms, {words}: {kind.name}; {number} blocks"
                    yield from _of_effects(where, design, logs + means[:, None], design.contrasts @ means)


def _of_effects(where: str, design: Design, logs: np.ndarray, truth: np.ndarray) -> Iterator[Figure]:
    """Figures of one truth.

    :param logs: logarithms of errors, of shape (studies, arms, blocks).
    :param truth: of each effect.
    """
    found = intervals(np.einsum("ea,sab->seb", design.contrasts, logs))
    yield coverage(f"effects of {where}", found, truth)
    none = np.isclose(truth, 0)
    if none.any():
        yield share(f"a claim of an effect that is none: {where}", found.claimed[:, none].any(axis=1), CLAIMS)
    if not none.all():
        yield share(f"power, true effects of {where}", found.claimed[:, ~none])
    yield Figure(f"difference from the project's own effects: {where}", _apart(found, design, logs), "", EXACT)


def _apart(found: Intervals, design: Design, logs: np.ndarray) -> float:
    """The largest difference of a bound, as a logarithm, from those of the project over the first studies."""
    largest = 0.0
    for study in range(min(thresholds.CHECKED, len(logs))):
        told = effects(factor_study(logs[study], design))
        own = np.log1p([[effect.change.low / 100, effect.change.high / 100] for effect in told]).T
        mean, half = found.mean[study], found.half[study]
        largest = max(largest, float(np.abs(own - [mean - half, mean + half]).max()))
        assert [effect.p_holm < 0.05 for effect in told] == found.claimed[study].tolist()
    return largest


def of_steps_and_orders(studies: int) -> Iterator[Figure]:
    """What the first screen tells of four arms whose true differences are `STEPS`, by step and by order together.

    Of a change by δ it is just false that it is no worse than δ.
    """
    by_order = {
        "the same at every order": np.zeros(4),
        "that grows with l": np.log([1.3, 1.1, 0.9, 0.75]),
    }
    for words, tilt in by_order.items():
        rng = np.random.default_rng([SEED, len(words), 9])
        lower = np.vstack([np.zeros(4), STEPS.cumsum()[:, None] + tilt - tilt.mean()])
        logs = order_errors(rng, np.exp(lower), studies)
        means = logs.mean(axis=3)
        verdicts, claims = step_verdicts(means, DELTA), order_claims(logs)
        false = false_verdicts(verdicts, STEPS).any(axis=1) | false_claims(claims, lower[1:]).any(axis=1)
        where = f"true differences by step, benefit {words}: 6 blocks"
        yield coverage(f"steps, {where}", intervals(np.diff(means, axis=1)), STEPS)
        yield share(f"a false claim of the first screen, by step or by order, {where}", false, CLAIMS)
        yield share(f"power, a step that lowers the error by 40 %, {where}", verdicts[:, 0] == EARNS)
        yield share(f"power, the shape by order of an arm, {where}", claims.slope == 1)
        yield alike_told(where, logs, false)


def false_verdicts(verdicts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which verdicts contradict the truth, of shape (studies, steps).

    :param verdicts: from `step_verdicts`.
    :param truth: logarithm of the ratio of errors of each step.
    """
    large = np.abs(truth) >= np.log1p(DELTA / 100) * (1 - EXACT)
    not_lower, not_higher = truth > -EXACT, truth < EXACT
    false = {EARNS: not_lower, WORSE: not_higher, DEARER: large, SLIGHT: not_lower | large}
    return np.any([(verdicts == verdict) & wrong for verdict, wrong in false.items()], axis=0)


def false_claims(claims: OrderClaims, truth: np.ndarray) -> np.ndarray:
    """Of which arms any claim by order contradicts the truth, of shape (studies, arms).

    :param truth: logarithm of the ratio of errors, by arm (rows) and order (columns).
    """
    signs = np.where(np.abs(truth) < EXACT, 0, np.sign(truth))
    changed = ((claims.changed != 0) & (claims.changed != signs)).any(axis=2)
    # An order whose benefit is no larger than that of another one.
    lowest = truth <= truth.min(axis=1, keepdims=True) + EXACT
    only = lowest & (lowest.sum(axis=1, keepdims=True) == 1)
    largest = (claims.largest >= 0) & ~only[np.arange(len(only)), claims.largest]
    rises = np.diff(truth, axis=1)
    slope = np.select([(rises < -EXACT).all(axis=1), (rises > EXACT).all(axis=1)], [1, -1], 0)
    return changed | largest | ((claims.slope != 0) & (claims.slope != slope))
