"""How the benefit of hidden features depends on the order l of the output: where it is largest, and whether it grows.

For a pair (block, replicate) let y_t = log(x_arm / x_baseline), where x is the relative error of output t of order l_t,
and y_l the mean over the outputs of order l. The change of an order is 100·(exp(mean of y_l) − 1), and a benefit is a
change below zero. Outputs are the orders of one density, or targets that networks of their own have learnt. Two kinds
are left out: those that the arm or its baseline cannot reach, and those that neither *learns*. An output is learnt if
the 95 % interval for new data of its relative error lies below 90 % of the spread for the arm or the baseline. What is
not learnt has a ratio near one at any benefit, so it would feign a trend.

Four things may be claimed of an arm, each with a p-value from t tests of mean differences over the units of the design
(`tesseral.analysis.terms.sampling`), for new data:

- the change at one order is not zero;
- the benefit is **largest** at l*: y is below zero at l*, and lower than at every other order;
- the benefit **grows** with l: y falls at each step from an order to the next, and is below zero at the last one;
- the benefit **shrinks** with l: the same in the other direction.

The last three hold if every one of their parts does, so their p is the largest of the parts' (an intersection-union
test: Berger, Technometrics 24, 295, 1982), which needs no further correction. l* is the order of the lowest mean; two-
sided tests allow for that choice (Gutmann & Maymin, Ann. Stat. 15, 456, 1987). A slope is not tested, because a benefit
that peaks between the orders, or only harm that becomes less, has one too. Holm's correction covers all claims of all
arms of the study.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.paired import arm_errors, holm, log_ratios, relative_change
from tesseral.analysis.statistics.orders.benefit import Contrast, contrasts, hidden_text
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import SIGNIFICANCE, Estimate, interval
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names
from tesseral.study.design.search_space import HIDDEN
from tesseral.study.wording import count, listed

LEARNT = 90.0
"""An output is learnt if the interval of its relative error lies below this, percent of the target's spread."""
_MOST_SENTENCES = 4
"""More sentences than this are replaced by counts."""
_PLACE = ("block", "replicate")


@dataclass(frozen=True)
class Claim:
    """What may be claimed of an arm's changes by order."""

    kind: Literal["changed", "largest", "grows", "shrinks"]
    order: int
    """The order that changed, or that of the largest benefit."""
    p: float
    """The largest p-value of its parts; 1 if a part has the other sign."""
    p_holm: float = 1.0
    """`p` after Holm's correction over all claims of the study."""

    @property
    def holds(self) -> bool:
        """Whether it is significant."""
        return self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class Trend:
    """The changes of one set of hidden features against another by order of the output, all else being equal."""

    hidden: str
    """Hidden features of the arm, such as 'lmax=2'."""
    baseline: str
    """Hidden features of the baseline."""
    where: str
    """Levels of all other factors except the target; empty if there are none."""
    unlearnt: tuple[int, ...]
    """Orders with an output that is left out because neither arm learns it."""
    pairs: int
    """Pairs in which both arms have an error of every output."""
    changes: dict[int, Estimate]
    """Order → change of the relative error, percent: negative is a benefit. Ascending orders; at least two."""
    claims: tuple[Claim, ...]
    """Empty without intervals for new data."""

    @property
    def shape(self) -> Claim | None:
        """The strongest claim on how the benefit depends on the order that holds, if any."""
        shapes = [claim for claim in self.claims if claim.kind != "changed" and claim.holds]
        return min(shapes, key=lambda claim: claim.kind == "largest", default=None)

    def among(self, questions: int) -> "Trend":
        """The same with its claims corrected for questions that are answered side by side."""
        claims = (replace(claim, p_holm=min(1.0, questions * claim.p_holm)) for claim in self.claims)
        return replace(self, claims=tuple(claims))

    def changed(self, *, better: bool) -> list[int]:
        """Orders at which the arm is significantly better, or worse, than its baseline."""
        held = [claim.order for claim in self.claims if claim.kind == "changed" and claim.holds]
        return [order for order in held if (self.changes[order].value < 0) == better]


def trends(tables: StudyTables) -> tuple[Trend, ...]:
    """The changes by order of every set of hidden features that is compared over two or more learnt orders.

    :returns: in the study's order.
    """
    parts: dict[tuple[str, str, str], list[Contrast]] = {}
    for each in contrasts(tables):
        if each.reachable:
            study = each.part.study
            key = (hidden_text(study, each.arm), hidden_text(study, each.baseline), _where(tables.study, each.arm))
            parts.setdefault(key, []).append(each)
    made = [trend for key, own in parts.items() if (trend := _trend(*key, own, tables.study.sampling)) is not None]
    corrected = iter(holm([claim.p for trend in made for claim in trend.claims]))
    return tuple(
        replace(trend, claims=tuple(replace(claim, p_holm=next(corrected)) for claim in trend.claims)) for trend in made
    )


def _trend(hidden: str, baseline: str, where: str, outputs: list[Contrast], sampling: Sampling) -> Trend | None:
    """None if no pair has an error of every learnt output, or these are of one order."""
    learnt = [_learnt(each) for each in outputs]
    kept = [each for each, is_learnt in zip(outputs, learnt, strict=True) if is_learnt]
    orders = sorted({each.order for each in kept})
    if len(orders) < 2:
        return None
    # A pair that lacks an output is left out: its mean would be over other outputs than those of the other pairs.
    whole = _ratios(kept[0]).rename({"ratio": "0"})
    for number, each in enumerate(kept[1:], start=1):
        whole = whole.join(_ratios(each).rename({"ratio": str(number)}), on=_PLACE)
    whole = whole.sort(_PLACE)
    if not whole.height:
        return None
    ratios = whole.drop(_PLACE).to_numpy()
    logs = np.stack([ratios[:, [each.order == order for each in kept]].mean(axis=1) for order in orders], axis=1)
    arms = [arm for each in kept for arm in (each.arm, each.baseline)]
    return Trend(
        hidden=hidden,
        baseline=baseline,
        where=where,
        unlearnt=tuple(sorted({each.order for each, is_learnt in zip(outputs, learnt, strict=True) if not is_learnt})),
        pairs=whole.height,
        changes={order: relative_change(whole, logs[:, k], sampling, *arms) for k, order in enumerate(orders)},
        claims=_claims(whole, logs, orders, sampling, arms),
    )


def _ratios(output: Contrast) -> pl.DataFrame:
    return log_ratios(output.part.trials, output.metric, output.arm, output.baseline)


def _learnt(output: Contrast) -> bool:
    """Whether the arm or its baseline learns the output, by the interval for new data of its relative error."""
    part = output.part
    means = arm_errors(part.trials, output.metric, (output.arm, output.baseline), part.study.sampling)
    highs = [mean.error.high for mean in means if mean.error is not None]
    return any(high is not None and high < LEARNT for high in highs)


def _claims(
    rows: pl.DataFrame, logs: np.ndarray, orders: Sequence[int], sampling: Sampling, arms: Iterable[str]
) -> tuple[Claim, ...]:
    """Every claim on the changes of one arm, without a correction; none without intervals for new data.

    :param rows: a frame with the column `block`, one row a pair.
    :param logs: mean log ratio of each pair (rows) and order (columns).
    :param orders: ascending, at least two.
    """

    def below_zero(values: np.ndarray) -> float:
        """p of a mean below zero, from a two-sided test; 1 for a mean above zero."""
        estimate = sampling.estimate(rows, values, *arms)
        return 1.0 if estimate.p is None or estimate.value >= 0 else estimate.p

    changes = [sampling.estimate(rows, column, *arms) for column in logs.T]
    if any(change.p is None for change in changes):
        return ()
    changed = [Claim("changed", order, change.p or 0.0) for order, change in zip(orders, changes, strict=True)]
    best, last = int(np.argmin([change.value for change in changes])), len(orders) - 1
    benefit = below_zero(logs[:, best])
    others = [below_zero(logs[:, best] - logs[:, k]) for k in range(len(orders)) if k != best]
    shapes = [Claim("largest", orders[best], max(benefit, *others))]
    if best in (0, last):
        rising = 1 if best == last else -1
        steps = [below_zero(step) for step in rising * np.diff(logs, axis=1).T]
        shapes.append(Claim("grows" if best == last else "shrinks", orders[best], max(benefit, *steps)))
    return (*changed, *shapes)


def _where(study: StudyInfo, arm: str) -> str:
    """The levels of an arm's factors other than its hidden features and its target, such as 'layers=3'."""
    names = short_names(study.factors)
    levels = study.levels.get(arm, {})
    others = {path: level for path, level in levels.items() if path not in FACTORS and not path.startswith(HIDDEN)}
    return ", ".join(f"{names.get(path, path)}={level}" for path, level in others.items())


def trend_sentences(tested: Sequence[Trend]) -> list[str]:
    """What is decided about each arm by order of the output: a sentence for each, or counts if there are many.

    Arms without an interval for new data are left out.
    """
    decided = [trend for trend in tested if trend.claims]
    if len(decided) <= _MOST_SENTENCES:
        return [_sentence(trend) for trend in decided]
    shapes = [trend.shape.kind if trend.shape else None for trend in decided]
    verbs = {
        "grows": "grows with l",
        "shrinks": "shrinks with l",
        "largest": "is largest at one order",
        None: "has no decided shape",
    }
    counts = [f"{verb} in {shapes.count(kind)}" for kind, verb in verbs.items() if kind in shapes]
    worse = sum(bool(trend.changed(better=False)) for trend in decided)
    return [
        f"In {len(decided)} comparisons by order l of the output, the benefit of hidden features {listed(counts)}."
        + (f" At least one order becomes worse in {worse}." if worse else "")
    ]


def _sentence(trend: Trend) -> str:
    """What is decided about one arm, each part with the changes that it rests on."""
    basis = f"l = {', '.join(map(str, trend.changes))}; {count(trend.pairs, 'pair')}"
    basis += f"; {trend.where}" if trend.where else ""
    basis += f"; not learnt and left out: l = {', '.join(map(str, trend.unlearnt))}" if trend.unlearnt else ""
    shape, better, worse = trend.shape, trend.changed(better=True), trend.changed(better=False)
    parts = []
    if shape is not None and shape.kind == "largest":
        parts.append(f"has its largest benefit at {_at(trend, [shape.order])}")
    elif shape is not None:
        ends = list(trend.changes)
        parts.append(f"has a benefit that {shape.kind} with l, from {_at(trend, ends[:1])} to {_at(trend, ends[-1:])}")
    elif better:
        parts.append(f"has a benefit at {_at(trend, better)}, and at which order it is largest is undecided")
    if worse:
        parts.append(f"is worse at {_at(trend, worse)}")
    if not parts:
        parts.append("changes the error of no order by a decided amount")
    return f"By order of the output ({basis}), {trend.hidden} against {trend.baseline} {'; it '.join(parts)}."


def _at(trend: Trend, orders: Sequence[int]) -> str:
    """Orders with their changes, such as `l = 2 (−58.0 % [−61.4, −54.4])`."""
    return listed([f"l = {order} ({interval(trend.changes[order], '%', signed=True)})" for order in orders])
