"""What the first screen tells of many studies at once: verdicts by step, and claims by order of the output.

By the formulas of `tesseral.analysis.statistics`, in `comparisons.steps` and `orders.order_trend`, for studies whose
errors are positive and whose arms each cost more than the one before. `differs` holds them against the project's own
functions, which take a tenth of a second a study.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tesseral.analysis.statistics.comparisons.steps import steps
from tesseral.analysis.statistics.orders.order_trend import LEARNT, trends
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import SIGNIFICANCE
from tests.calibration.verdicts import against_first, intervals

EARNS, WORSE, DEARER, UNDECIDED = "earns its cost", "worse", "no better, and dearer", "undecided"
SLIGHT = "lower by less than δ, and dearer"
QUESTIONS = 2
"""By step and by order: both share one level of significance."""


def step_verdicts(logs: np.ndarray, margin: float) -> np.ndarray:
    """The verdict on each arm against the one before it, of shape (studies, arms − 1).

    :param logs: logarithms of errors, of shape (studies, arms, blocks).
    :param margin: δ, percent.
    """
    changes = np.diff(logs, axis=1)
    found, freedom = intervals(changes), changes.shape[-1] - 1
    error = changes.std(axis=-1, ddof=1) / np.sqrt(changes.shape[-1])
    # The larger p-value of both one-sided tests: the change rises, and it falls, by δ or more.
    negligible = special.stdtr(freedom, (np.abs(found.mean) - np.log1p(margin / 100)) / error)
    level = SIGNIFICANCE / (QUESTIONS * changes.shape[1])
    small, different = negligible < level, found.p < level
    lower, higher = different & (found.mean < 0), different & (found.mean > 0)
    return np.select([lower & small, small, lower, higher], [SLIGHT, DEARER, EARNS, WORSE], UNDECIDED)


@dataclass(frozen=True)
class OrderClaims:
    """What is claimed of the changes of each arm against the first, by order; of shape (studies, arms − 1, …)."""

    changed: np.ndarray
    """Orders at which the error is higher (1) or lower (−1); 0 elsewhere."""
    largest: np.ndarray
    """The order of the largest benefit; −1 where none is claimed."""
    slope: np.ndarray
    """1 where the benefit grows with l, −1 where it shrinks, 0 where neither is claimed."""

    @property
    def any(self) -> np.ndarray:
        """Studies with a claim."""
        return (self.changed != 0).any(axis=(1, 2)) | self.shaped.any(axis=1)

    @property
    def shaped(self) -> np.ndarray:
        """Arms of which a shape is claimed."""
        return (self.largest >= 0) | (self.slope != 0)


def order_claims(logs: np.ndarray, questions: int = QUESTIONS) -> OrderClaims:
    """The claims on every arm against the first. The lowest order alone may be one that is not learnt.

    :param logs: logarithms of relative errors in percent, of shape (studies, arms, blocks, orders).
    :param questions: that share the level of significance.
    """
    studies, arms, _, orders = logs.shape
    by_order = logs.swapaxes(2, 3)
    alone = intervals(by_order.reshape(studies, arms * orders, -1))
    known = (np.exp(alone.mean + alone.half) < LEARNT).reshape(studies, arms, orders)
    learnt = known[:, 1:] | known[:, :1]
    assert learnt[..., 1:].all()
    changes = against_first(by_order)

    mean, changed = _tested(changes)
    best = np.where(learnt, mean, np.inf).argmin(axis=2)
    at_best = np.take_along_axis(changes, best[..., None, None], axis=2)
    apart = np.where(np.arange(orders) == best[..., None], 0.0, _below_zero(at_best - changes))
    benefit = np.take_along_axis(_below_zero(changes), best[..., None], axis=2)
    largest = np.max(np.concatenate([benefit, np.where(learnt, apart, 0.0)], axis=2), axis=2)

    sign = np.where(best == orders - 1, 1, np.where(best == learnt.argmax(axis=2), -1, 0))
    steps_between = np.where(learnt[..., :-1], _below_zero(sign[..., None, None] * np.diff(changes, axis=2)), 0.0)
    slope = np.max(np.concatenate([benefit, steps_between], axis=2), axis=2)

    p = np.concatenate([np.where(learnt, changed, np.nan), largest[..., None], slope[..., None]], axis=2)
    p[..., -1] = np.where(sign == 0, np.nan, slope)
    holds = _holm(p.reshape(studies, -1)).reshape(p.shape) * questions < SIGNIFICANCE
    return OrderClaims(
        np.where(holds[..., :orders], np.sign(mean), 0).astype(int),
        np.where(holds[..., orders], best, -1),
        np.where(holds[..., -1], sign, 0),
    )


def _tested(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over the last axis, and p-values of zero means."""
    found = intervals(values.reshape(len(values), -1, values.shape[-1]))
    return found.mean.reshape(values.shape[:-1]), found.p.reshape(values.shape[:-1])


def _below_zero(values: np.ndarray) -> np.ndarray:
    """p-values of means below zero over the last axis; 1 where they are above."""
    with np.errstate(invalid="ignore"):
        mean, p = _tested(values)
    return np.where(mean < 0, p, 1.0)


def _holm(p: np.ndarray) -> np.ndarray:
    """p-values after Holm's correction over the second axis; NaN counts as none, and stays."""
    order = p.argsort(axis=1)
    left = (~np.isnan(p)).sum(axis=1, keepdims=True) - np.arange(p.shape[1])
    adjusted = np.maximum.accumulate(np.minimum(1.0, np.take_along_axis(p, order, axis=1) * left), axis=1)
    made = np.empty_like(p)
    np.put_along_axis(made, order, adjusted, axis=1)
    return made


def differs(tables: StudyTables, verdicts: np.ndarray, claims: OrderClaims, study: int) -> bool:
    """Whether a study of the many is told otherwise than by the project.

    :param tables: of the study.
    :param verdicts: from `step_verdicts`.
    :param claims: from `order_claims`.
    :param study: its number.
    """
    told = [step.verdict for step in steps(tables, QUESTIONS)] != verdicts[study].tolist()
    for arm, trend in enumerate(trend.among(QUESTIONS) for trend in trends(tables)):
        held = {(claim.kind, claim.order) for claim in trend.claims if claim.holds}
        own = {("changed", int(order)) for order in np.flatnonzero(claims.changed[study, arm])}
        best, slope = int(claims.largest[study, arm]), int(claims.slope[study, arm])
        own |= {("largest", best)} if best >= 0 else set()
        own |= {("grows", max(trend.changes))} if slope > 0 else set()
        own |= {("shrinks", min(trend.changes))} if slope < 0 else set()
        told |= held != own
    return told
