"""Trend of the benefit of hidden features with the order l of the target, tested in pairs.

For a pair (block, replicate) let y_t = log(x_arm / x_baseline), where x is the relative error of output t of order l_t.
The trend of the pair is the least-squares slope Σ_t (l_t − l̄) y_t / Σ_t (l_t − l̄)², the change of y per order. Trends
of pairs are averaged and tested as changes are (`tesseral.analysis.statistics.paired`), with Holm's correction over all
trends of the study. Outputs are the orders of one density, or targets that networks of their own have learnt. Outputs
that the arm or its baseline cannot reach are left out, because their error does not depend on the features.

One slope a pair is the summary-measures method (Matthews et al., BMJ 300, 230, 1990): the outputs of one pair share its
split and initialisation, so they are not independent, but slopes of different blocks are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tesseral.analysis.statistics.benefit import contrasts, hidden_text
from tesseral.analysis.statistics.paired import holm, log_ratios, relative_change
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import SIGNIFICANCE, Estimate, interval
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names
from tesseral.study.design.search_space import HIDDEN
from tesseral.study.wording import count, listed

_MOST_SENTENCES = 4
"""More sentences than this are replaced by counts."""
_GROWS, _SHRINKS, _UNDECIDED = "the benefit grows with l", "the benefit shrinks with l", "undecided"
_UNCORRECTED = "undecided after Holm’s correction"
_COUNTED = {_GROWS: "grows", _SHRINKS: "shrinks", _UNDECIDED: "is undecided", _UNCORRECTED: "is undecided"}
_PLACE = ("block", "replicate")


@dataclass(frozen=True)
class Trend:
    """The trend of one set of hidden features against another, all else being equal."""

    hidden: str
    """Hidden features of the arm, such as 'lmax=2'."""
    baseline: str
    """Hidden features of the baseline."""
    where: str
    """Levels of all other factors except the target; empty if there are none."""
    orders: tuple[int, ...]
    """Orders of the outputs, ascending, each once."""
    pairs: int
    """Pairs in which both arms have an error of every output."""
    change: Estimate
    """100·(exp(mean slope) − 1), percent per order: negative where the benefit grows with the order."""
    p_holm: float | None = None
    """`change.p` after Holm's correction over all trends of the study."""


def trends(tables: StudyTables) -> tuple[Trend, ...]:
    """The trend of every set of hidden features that is compared over two or more orders, in the study's order."""
    parts: dict[tuple[str, str, str], list[pl.DataFrame]] = {}
    for part, arm, base, order, metric, reachable in contrasts(tables):
        if reachable:
            key = (hidden_text(part.study, arm), hidden_text(part.study, base), _where(tables.study, arm))
            named = pl.lit(f"{order} {part.study.target_of(arm).name}").alias("output")
            parts.setdefault(key, []).append(log_ratios(part.trials, metric, arm, base).with_columns(named))
    made = [trend for key, ratios in parts.items() if (trend := _trend(*key, pl.concat(ratios), tables)) is not None]
    tested = {i: trend.change.p for i, trend in enumerate(made) if trend.change.p is not None}
    for i, p in zip(tested, holm(list(tested.values())), strict=True):
        made[i] = replace(made[i], p_holm=p)
    return tuple(made)


def _trend(hidden: str, baseline: str, where: str, ratios: pl.DataFrame, tables: StudyTables) -> Trend | None:
    """None if no pair has an error of every output, or all outputs are of one order."""
    # A pair that lacks an output is left out: its slope would be over other orders than those of the other pairs.
    whole = ratios.pivot("output", index=_PLACE, values="ratio").drop_nulls().sort(_PLACE)
    outputs = whole.drop(_PLACE)
    orders = np.array([int(name.partition(" ")[0]) for name in outputs.columns])
    if len(set(orders.tolist())) < 2 or not whole.height:
        return None
    centred = orders - orders.mean()
    slopes = outputs.to_numpy() @ centred / np.square(centred).sum()
    change = relative_change(whole, slopes, tables.study.sampling)
    return Trend(hidden, baseline, where, tuple(sorted(set(orders.tolist()))), whole.height, change)


def _where(study: StudyInfo, arm: str) -> str:
    """The levels of an arm's factors other than its hidden features and its target, such as 'layers=3'."""
    names = short_names(study.factors)
    levels = study.levels.get(arm, {})
    others = {path: level for path, level in levels.items() if path not in FACTORS and not path.startswith(HIDDEN)}
    return ", ".join(f"{names.get(path, path)}={level}" for path, level in others.items())


def trend_sentences(tested: Sequence[Trend]) -> list[str]:
    """What the trends decide: one sentence for all trends against one baseline, or counts if there are many.

    Trends without an interval are left out.
    """
    decided = [trend for trend in tested if trend.p_holm is not None]
    groups: dict[tuple[str, str, tuple[int, ...], int], list[Trend]] = {}
    for trend in decided:
        groups.setdefault((trend.baseline, trend.where, trend.orders, trend.pairs), []).append(trend)
    if len(groups) > _MOST_SENTENCES:
        verdicts = Counter(_COUNTED[_verdict(trend)] for trend in decided)
        counts = listed([f"{verb} in {number}" for verb, number in verdicts.most_common()])
        return [
            f"In {len(decided)} comparisons, it was tested whether the benefit of hidden features grows or shrinks "
            f"with the order l of the output: it {counts}."
        ]
    return [_sentence(*key, alike) for key, alike in groups.items()]


def _sentence(baseline: str, where: str, orders: tuple[int, ...], pairs: int, alike: list[Trend]) -> str:
    """One sentence for the trends that share a baseline, the levels of other factors, their orders and their pairs."""
    basis = f"l = {', '.join(map(str, orders))}; {count(pairs, 'pair')}{f'; {where}' if where else ''}"
    each = [f"{interval(trend.change, '%', signed=True)} for {trend.hidden} ({_verdict(trend)})" for trend in alike]
    return (
        f"From one order l of the output to the next ({basis}), the ratio of an arm’s relative error to that of "
        f"{baseline} changes by {listed(each)}."
    )


def _verdict(trend: Trend) -> str:
    """What a trend decides, in words; the change falls with the order where the benefit grows."""
    if trend.p_holm is None or trend.p_holm >= SIGNIFICANCE:
        return _UNCORRECTED if trend.change.excludes_zero else _UNDECIDED
    return _GROWS if trend.change.value < 0 else _SHRINKS
