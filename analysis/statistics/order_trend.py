"""Whether the benefit of hidden features depends on the order of the output: a linear trend, tested in pairs.

Of a pair (block, replicate) let y_t = log(x_arm / x_baseline), x the relative errors of output t, of order l_t. Its
trend is the slope of least squares, Σ_t (l_t − l̄) y_t / Σ_t (l_t − l̄)²: what y changes by from one order to the next.
Trends of pairs are averaged and tested as changes are (`tesseral.analysis.statistics.paired`), and corrected after Holm
over all trends of the study. Outputs that the arm or its baseline cannot reach are left out, for features are not what
their errors tell of. The outputs are the orders of one density, or targets that networks of their own have learnt.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tesseral.analysis.statistics.orders import HIDDEN, contrasts, hidden_text
from tesseral.analysis.statistics.paired import holm, log_ratios, relative_change
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import SIGNIFICANCE, Estimate
from tesseral.analysis.terms.wording import interval
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names
from tesseral.study.wording import count, listed

_MOST_SENTENCES = 4
"""Of more, a count."""
_GROWS, _SHRINKS, _UNDECIDED = "the benefit grows", "the benefit shrinks", "undecided"
_UNCORRECTED = "undecided after Holm’s correction"
_COUNTED = {_GROWS: "grow", _SHRINKS: "shrink", _UNDECIDED: "are undecided", _UNCORRECTED: "are undecided"}
_PLACE = ("block", "replicate")


@dataclass(frozen=True)
class Trend:
    """Of one set of hidden features against another, where nothing else differs."""

    hidden: str
    """The arm's, such as 'lmax=2'."""
    baseline: str
    where: str
    """Levels of all other factors but the target; empty where there are none."""
    orders: tuple[int, ...]
    """Of the outputs, ascending, each once."""
    pairs: int
    """In which both arms have an error of every output."""
    change: Estimate
    """100·(exp(mean slope) − 1), percent: below zero the benefit grows with the order."""
    p_holm: float | None = None


def trends(tables: StudyTables) -> list[Trend]:
    """Of every set of hidden features that is compared over outputs of two orders or more, in the study's order."""
    parts: dict[tuple[str, str, str], list[pl.DataFrame]] = {}
    for part, arm, base, order, metric, reachable in contrasts(tables):
        if reachable:
            key = (hidden_text(part.study, arm), hidden_text(part.study, base), _where(tables.study, arm))
            named = pl.lit(f"{order} {part.study.target_of(arm).name}").alias("output")
            parts.setdefault(key, []).append(log_ratios(part.trials, metric, arm, base).with_columns(named))
    found = [trend for key, ratios in parts.items() if (trend := _trend(*key, pl.concat(ratios), tables)) is not None]
    tested = {i: trend.change.p for i, trend in enumerate(found) if trend.change.p is not None}
    for i, p in zip(tested, holm(list(tested.values())), strict=True):
        found[i] = replace(found[i], p_holm=p)
    return found


def _trend(hidden: str, baseline: str, where: str, ratios: pl.DataFrame, tables: StudyTables) -> Trend | None:
    """None where no pair has an error of every output, or all outputs are of one order."""
    whole = ratios.pivot("output", index=_PLACE, values="ratio").drop_nulls().sort(_PLACE)
    outputs = whole.drop(_PLACE)
    orders = np.array([int(name.partition(" ")[0]) for name in outputs.columns])
    if len(set(orders.tolist())) < 2 or not whole.height:
        return None
    centred = orders - orders.mean()
    slopes = outputs.to_numpy() @ centred / np.square(centred).sum()
    change = relative_change(whole, slopes, tables.study.most_blocks)
    return Trend(hidden, baseline, where, tuple(sorted(set(orders.tolist()))), whole.height, change)


def _where(study: StudyInfo, arm: str) -> str:
    names = short_names(study.factors)
    levels = study.levels.get(arm, {})
    others = {path: level for path, level in levels.items() if path not in FACTORS and not path.startswith(HIDDEN)}
    return ", ".join(f"{names.get(path, path)}={level}" for path, level in others.items())


def trend_sentences(found: list[Trend]) -> list[str]:
    """What they decide, those against one baseline in one sentence; of many sentences, a count in their place.

    Trends without an interval are not told.
    """
    told = [trend for trend in found if trend.p_holm is not None]
    groups: dict[tuple[str, str, tuple[int, ...], int], list[Trend]] = {}
    for trend in told:
        groups.setdefault((trend.baseline, trend.where, trend.orders, trend.pairs), []).append(trend)
    if len(groups) > _MOST_SENTENCES:
        verdicts = Counter(_COUNTED[_verdict(trend)] for trend in told)
        which = f"Of {len(told)} trends of the benefit of hidden features with the order of the output,"
        return [f"{which} {listed([f'{number} {verb}' for verb, number in verdicts.most_common()])}."]
    return [_sentence(*key, trends_) for key, trends_ in groups.items()]


def _sentence(baseline: str, where: str, orders: tuple[int, ...], pairs: int, alike: list[Trend]) -> str:
    basis = f"l = {', '.join(map(str, orders))}; {count(pairs, 'pair')}{f'; {where}' if where else ''}"
    each = [f"{interval(one.change, '%', signed=True)} in {one.hidden} ({_verdict(one)})" for one in alike]
    ratio = f"the ratio of the relative error to that of {baseline} changes"
    return f"From one order of the output to the next ({basis}) {ratio} by {listed(each)}."


def _verdict(trend: Trend) -> str:
    if trend.p_holm is None or trend.p_holm >= SIGNIFICANCE:
        return _UNCORRECTED if trend.change.excludes_zero else _UNDECIDED
    return _GROWS if trend.change.value < 0 else _SHRINKS
