"""The verdict by step: whether the next level of a factor earns its cost.

A factor is ordered if its levels are numbers, or sets of hidden orders l. A *step* goes from a level to the next one
above it, within a group and at equal levels of all other factors: to the next larger number, or to a set that holds
the former with no level between. Its change is that of the error, in pairs (`paired`), with both intervals. `costs`
says when it is *dearer*. δ is `study.margin`. The first row that holds is the verdict, so each step has exactly one:

| shown of the error | dearer | verdict |
|---|---|---|
| no interval | | no verdict |
| lower | no | better; not shown to be dearer |
| lower, and by less than δ | yes | lower by less than δ, and dearer |
| lower or higher by less than δ | yes | no better, and dearer |
| lower | yes | earns its cost |
| lower, or higher by less than δ | no | no worse than δ |
| higher | | worse |
| nothing | | undecided |

*Lower* and *higher* are shown by the two-sided t test of no change. *By less than δ* is shown by t tests against
log(1 + δ) and −log(1 + δ), each one-sided at 5 %: both for a dearer step (the 90 % interval lies inside ±δ), the first
alone for another one (non-inferiority). The p-values are multiplied by the number of steps of the study, and by that of
the questions that the first screen answers beside them (Bonferroni).
A step's change is zero or at least δ, never both, so at most one of its tests can err, and all steps together claim
something false in at most 5 % of studies.

*About N more blocks*: the smallest number with which any verdict but undecided has a chance of 80 %, if the change and
the spread are those seen (`further_units`). For new data no number may do, because their interval does not vanish with
blocks (`tesseral.analysis.terms.sampling`): then more data would.

Sources: Dunn, J. Am. Stat. Assoc. 56, 52 (1961), on Bonferroni's correction; Schuirmann, J. Pharmacokinet. Biopharm.
15, 657 (1987), on two one-sided tests.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import log1p
from typing import Any, Literal

import polars as pl

from tesseral.analysis.statistics.comparisons.costs import cost_ratios, is_dearer
from tesseral.analysis.statistics.comparisons.further_units import further_units
from tesseral.analysis.statistics.comparisons.paired import Comparison, among, compare_pairs, log_ratios
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import FEWEST_UNITS, SIGNIFICANCE, Estimate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names
from tesseral.study.design.search_space import HIDDEN

Verdict = Literal[
    "earns its cost",
    "better; not shown to be dearer",
    "lower by less than δ, and dearer",
    "no better, and dearer",
    "no worse than δ",
    "worse",
    "undecided",
    "no verdict",
]

_ORDERS = f"{HIDDEN}.orders"


@dataclass(frozen=True)
class Step:
    """A level of a factor against the one below it."""

    factor: str
    """Short name of the factor, such as `lmax`."""
    upper: str
    """The level, as text."""
    lower: str
    """The level below it."""
    where: str
    """Target, if the study has several, and levels of the other factors, such as `dipole, layers=3`; empty if there are
    none."""
    comparison: Comparison
    """The arm of the upper level against that of the lower one; `p_holm` and `p_holm_here` are multiplied by the number
    of steps, and of questions beside them."""
    costs: Mapping[str, Estimate]
    """From `costs.cost_ratios`."""
    dearer: bool
    """Whether it is shown to cost more."""
    verdict: Verdict
    """For new data of the same kind."""
    verdict_here: Verdict
    """For these data alone; none between tuned arms of fewer than three searches."""
    more: int | None
    """Further units (`comparison.unit`) that would decide it for new data with a chance of 80 %; None if decided, or if
    no number up to `further_units.MOST_MORE` would."""
    more_here: int | None
    """The same for these data."""


def decide(*, lower: bool, higher: bool, negligible: bool, dearer: bool) -> Verdict:
    """The verdict on a step that has an interval, by the table of this module.

    :param lower: whether the error is shown to be lower.
    :param higher: whether it is shown to be higher.
    :param negligible: whether it is shown to change by less than δ, or, of a step that is not dearer, to rise by less.
    :param dearer: whether the step is shown to cost more.
    """
    if lower and not dearer:
        return "better; not shown to be dearer"
    if lower and negligible:
        return "lower by less than δ, and dearer"
    if negligible:
        return "no better, and dearer" if dearer else "no worse than δ"
    if lower:
        return "earns its cost"
    return "worse" if higher else "undecided"


def steps(tables: StudyTables, questions: int = 1) -> tuple[Step, ...]:
    """Every step of a study, with its verdict; in the order of groups and factors, then of levels.

    :param questions: number of questions that are answered side by side with the steps, for which p-values are
        corrected too.
    :raises TesseralError: if the study's metric is not recorded.
    """
    study, trials = tables.study, tables.trials
    found = list(_pairs(study))
    tested = questions * len(found)
    compared = [
        replace(each, p_holm=among(p, tested), p_holm_here=among(p_here, tested))
        for each in compare_pairs(trials, study.metric, [(pair.upper, pair.lower) for pair in found], study.sampling)
        for p, p_here in [_p_values(each.change)]
    ]
    costs = [cost_ratios(trials, pair.upper, pair.lower, study.sampling) for pair in found]
    dearer = [is_dearer(each) for each in costs]
    ratios = [log_ratios(trials, study.metric, pair.upper, pair.lower) for pair in found]
    margin = log1p(study.margin / 100)
    tests = [
        _margin_tests(rows, study.sampling, margin, both, pair.upper, pair.lower) if comparison.change else (None, None)
        for rows, comparison, both, pair in zip(ratios, compared, dearer, found, strict=True)
    ]
    small, small_here = ([among(p, tested) for p in side] for side in zip(*tests, strict=True)) if tests else ([], [])
    made = []
    for i, (pair, comparison) in enumerate(zip(found, compared, strict=True)):
        change = comparison.change
        new = _verdict(change, comparison.p_holm, small[i], dearer[i])
        units = study.sampling.units(ratios[i], ratios[i]["ratio"].to_numpy())
        here = _verdict(change, comparison.p_holm_here, small_here[i], dearer[i])
        if study.sampling.unit == "search" and units.size < FEWEST_UNITS:
            here = "no verdict"  # on the settings found: other searches would find others
        overlap = study.sampling.widening(ratios[i], pair.upper, pair.lower)
        more, more_here = (
            further_units(units, margin, SIGNIFICANCE / tested, widening, both=dearer[i])
            if verdict == "undecided" and units.size >= FEWEST_UNITS
            else None
            for verdict, widening in ((new, overlap), (here, 0.0))
        )
        made.append(
            Step(
                *pair.words,
                comparison,
                costs[i],
                dearer[i],
                verdict=new,
                verdict_here=here,
                more=more,
                more_here=more_here,
            )
        )
    return tuple(made)


def _p_values(change: Estimate | None) -> tuple[float | None, float | None]:
    """The p-values of no change, for new data and for these data."""
    if change is None:
        return None, None
    return change.p, change.here.p if change.here else None


@dataclass(frozen=True)
class _Pair:
    """The arms of a step, and its words: factor, upper level, lower level, levels of the others."""

    upper: str
    lower: str
    words: tuple[str, str, str, str]


def _pairs(study: StudyInfo) -> Iterator[_Pair]:
    names, several = short_names(study.factors), len({group.target for group in study.groups}) > 1
    for group, arms in study.groups.items():
        for path in study.factors:
            if path in FACTORS:
                continue
            alike: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
            for arm in arms:
                others = dict(study.levels.get(arm, {}))
                level = others.pop(path, None)
                if level is not None:
                    alike.setdefault(tuple(sorted(others.items())), {})[level] = arm
            for others_, of_level in alike.items():
                varied = [
                    f"{names[other]}={level}"
                    for other, level in others_
                    if other not in FACTORS and len(study.factors.get(other, ())) > 1
                ]
                where = ", ".join([group.target.name, *varied] if several else varied)
                for lower, upper in _covers(path, list(of_level)):
                    yield _Pair(of_level[upper], of_level[lower], (names[path], upper, lower, where))


def _covers(path: str, levels: list[str]) -> list[tuple[str, str]]:
    """Pairs of a level and one above it with none between; none if the levels have no order."""
    ranks: dict[str, Any] = {level: _rank(path, level) for level in levels}
    if any(rank is None for rank in ranks.values()):
        return []
    ordered = sorted(
        levels, key=lambda level: len(ranks[level]) if isinstance(ranks[level], frozenset) else ranks[level]
    )
    return [
        (low, high)
        for low in ordered
        for high in ordered
        if ranks[low] < ranks[high] and not any(ranks[low] < ranks[mid] < ranks[high] for mid in ordered)
    ]


def _rank(path: str, level: str) -> float | frozenset[int] | None:
    """A number, or a set of hidden orders; None of a level without an order."""
    try:
        value = json.loads(level)
    except ValueError:
        return None
    if isinstance(value, list) and path == _ORDERS:
        return frozenset(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _margin_tests(
    rows: pl.DataFrame, sampling: Sampling, margin: float, both: bool, *arms: str
) -> tuple[float | None, float | None]:
    """p-values of a change by δ or more, for new data and for these data.

    :param rows: from `log_ratios`.
    :param margin: log(1 + δ).
    :param both: whether falls by δ or more are to be excluded too.
    """
    logs = rows["ratio"].to_numpy()
    if not logs.size:
        return None, None
    rises = sampling.estimate(rows, logs - margin, *arms).negative()
    falls = sampling.estimate(rows, logs + margin, *arms)

    tests = (rises, falls) if both else (rises,)
    new = [_one_sided(test.value, test.p) for test in tests]
    here = [_one_sided(test.value, test.here.p if test.here else None) for test in tests]
    return _largest(new), _largest(here)


def _one_sided(value: float, p: float | None) -> float | None:
    """p-value of a mean of zero or below, from that of the two-sided test."""
    return None if p is None else p / 2 if value > 0 else 1 - p / 2


def _largest(p_values: list[float | None]) -> float | None:
    """p-value of any of several hypotheses being true; None if one has none."""
    known = [p for p in p_values if p is not None]
    return max(known) if len(known) == len(p_values) else None


def _verdict(change: Estimate | None, p: float | None, negligible: float | None, dearer: bool) -> Verdict:
    if change is None or p is None or negligible is None:
        return "no verdict"
    significant = p < SIGNIFICANCE
    return decide(
        lower=significant and change.value < 0,
        higher=significant and change.value > 0,
        negligible=negligible < SIGNIFICANCE,
        dearer=dearer,
    )
