"""What a study found, in sentences that say no more than its intervals do."""

import re
from collections import Counter
from typing import Literal

from tesseral.analysis.report.design_text import sizes
from tesseral.analysis.report.notes import chosen_baseline
from tesseral.analysis.statistics.allocation import allocation
from tesseral.analysis.statistics.arms import Row, rows
from tesseral.analysis.statistics.fit_floor import floor_sentence
from tesseral.analysis.statistics.order_trend import trend_sentences, trends
from tesseral.analysis.statistics.paired import Comparison
from tesseral.analysis.statistics.progress import progress, search_progress
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import FEWEST_UNITS, SIGNIFICANCE, Estimate
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.analysis.terms.wording import describe, interval, p_value
from tesseral.study.wording import count, listed

_IRREP = re.compile(r"\d+[eo]")
_MOST_SENTENCES = 6
"""Comparisons that are told one by one; of more, a count."""

Verdict = Literal["lower", "higher", "undecided", "without an interval"]


def findings(tables: StudyTables) -> list[str]:
    """The report's opening paragraph, a list of sentences.

    A change is stated as a fact only where its interval excludes zero and Holm's correction over all arms agrees;
    elsewhere the sentence says so, or why there is no interval. Arms of one group are told together.
    """
    study, summary, stands, metric = tables.study, rows(tables), progress(tables), tables.study.metric
    comparisons = [row.comparison for row in summary if row.comparison is not None]
    searching = search_progress(tables)
    sentences = chosen_baseline(study)
    if searching is not None and searching.unfinished:
        sentences.append(f"The search is at {searching.ended} of {count(searching.planned, 'trial')}.")
    if stands.unfinished:
        sentences.append(f"{stands.complete} of {count(stands.planned, 'trial')} are complete: this is preliminary.")
    elif any(c.blocks and not c.stopped for c in allocation(tables, comparisons) if study.baseline_of(c.arm) != c.arm):
        sentences.append("More blocks are to be added: this is preliminary.")
    if all(row.error.error is None for row in summary):
        which = "trial of the confirm stage" if searching else "trial"
        return [*sentences, f"No {which} is complete, so there is nothing to compare yet."]
    alone = len(study.groups) == 1
    for group, arms in study.groups.items():
        own = [row for row in summary if row.arm in arms]
        sentences += _of_group(own, metric, group.target, counted=len(comparisons) > _MOST_SENTENCES, alone=alone)
    if not alone and len(comparisons) > _MOST_SENTENCES:
        within = f"Of {len(comparisons)} comparisons within groups in {describe(metric).noun}: "
        sentences.append(f"{within}{_verdicts(comparisons)}.")
    sentences += trend_sentences(trends(tables))
    sentences += _out_of_reach(summary)
    if (fit := floor_sentence(study)) is not None:
        sentences.append(fit)
    if (sized := sizes(study, summary)) is not None:
        sentences.append(sized)
    if any(row.error.unit == "trial" and row.error.error and row.error.error.low is not None for row in summary):
        sentences.append(f"The study has fewer than {FEWEST_UNITS} blocks: intervals are conditional on its splits.")
    return sentences


def verdict(comparison: Comparison) -> Verdict:
    """What a comparison decides about the arm's error, given all comparisons that were made with it."""
    change, p = comparison.change, comparison.p_holm
    if change is None or change.low is None or p is None:
        return "without an interval"
    if p >= SIGNIFICANCE or not change.excludes_zero:
        return "undecided"
    return "lower" if change.value < 0 else "higher"


def compared(comparison: Comparison, metric: str, target: TargetLabel | None = None) -> str:
    """One arm against the baseline, as a sentence.

    :param target: of both.
    """
    noun, change = describe(metric, target).noun, comparison.change
    arm, baseline = _quoted(comparison.arm), _quoted(comparison.baseline)
    if comparison.pairs == 0:
        return f"{arm} cannot be compared with {baseline}: no pair of trials is complete."
    basis = _basis(comparison)
    if change is None:
        return f"Against {baseline}, {arm} has no relative change, for an error is not positive ({basis})."
    told = interval(change, "%", signed=True)
    match verdict(comparison):
        case "without an interval":
            return f"Against {baseline}, {arm} changes {noun} by {told} ({basis}: too few for an interval)."
        case "undecided" if change.excludes_zero:
            holm = f"after Holm's correction (p = {p_value(comparison.p_holm or 0.0)})"
            return f"Against {baseline}, {arm} is undecided {holm}: {noun} changes by {told} ({basis})."
        case "undecided":
            return f"Against {baseline}, {arm} is undecided: {noun} changes by {told} ({basis})."
        case "lower":
            reduction = Estimate(-change.value, -(change.high or 0.0), -(change.low or 0.0))
            return f"Against {baseline}, {arm} lowers {noun} by {interval(reduction, '%')} ({basis})."
        case "higher":
            return f"Against {baseline}, {arm} raises {noun} by {interval(change, '%')} ({basis})."


def _out_of_reach(summary: list[Row]) -> list[str]:
    """That changes are in part those of reach, where an arm and the one that it is compared with differ in it.

    A sentence for baselines, one for arms that reach less than theirs.
    """
    by_arm = {row.arm: row for row in summary}
    lost = {row.arm: set(_IRREP.findall(row.unreachable or "")) for row in summary}
    pairs = [
        (row.arm, row.baseline)
        for row in summary
        if row.comparison is not None and row.comparison.pairs and row.baseline
    ]
    sentences = []
    if bases := list(dict.fromkeys(base for arm, base in pairs if lost[base] - lost[arm])):
        every = all(lost[base] - lost[arm] for arm, base in pairs if base in bases)
        whose = "each change" if every else "each change of an arm that reaches it"
        sentences.append(f"{_missed(bases, by_arm)}: part of {whose} is that.")
    if arms := [arm for arm, base in pairs if lost[arm] - lost[base]]:
        sentences.append(f"{_missed(arms, by_arm)}: part of {'its' if len(arms) == 1 else 'their'} change is that.")
    return sentences


def _missed(arms: list[str], by_arm: dict[str, Row]) -> str:
    what = dict.fromkeys(by_arm[arm].unreachable or "" for arm in arms)
    return f"{listed([_quoted(arm) for arm in arms])} cannot reach {listed(list(what))}, which counts as predicted zero"


def _mean(row: Row) -> float:
    return row.error.error.value if row.error.error is not None else float("inf")


def _of_group(summary: list[Row], metric: str, target: TargetLabel, *, counted: bool, alone: bool) -> list[str]:
    """What the arms of one group show; nothing before a trial of them is complete.

    :param counted: whether comparisons are too many to be told one by one.
    :param alone: whether there is no other group.
    """
    measured = [row for row in summary if row.error.error is not None]
    if not measured:
        return []
    lowest = min(measured, key=_mean)
    sentences = [_lowest(lowest, metric, target, alone=len(summary) == 1, named=not alone)]
    comparisons = [row.comparison for row in summary if row.comparison is not None]
    if counted:
        if alone:
            sentences.append(_counted(comparisons, metric, target))
        elif lowest.comparison is not None:
            sentences = []  # its comparison says enough
        comparisons = [lowest.comparison] if lowest.comparison is not None else []
    return sentences + [compared(comparison, metric, target) for comparison in comparisons]


def _lowest(row: Row, metric: str, target: TargetLabel, *, alone: bool, named: bool) -> str:
    """:param alone: whether there is no other arm in its group.
    :param named: whether its name is told even then.
    """
    told, error = describe(metric, target), row.error
    over = count(error.trials, "trial") + (f" in {count(error.units, 'block')}" if error.unit == "block" else "")
    mean = told.told(error.error) if error.error else "unknown"
    where = (f"in {_quoted(row.arm)} is" if named else "is") if alone else f"is lowest in {_quoted(row.arm)}:"
    return f"The mean of {told.noun} {where} {mean} ({over})."


def _counted(comparisons: list[Comparison], metric: str, target: TargetLabel) -> str:
    with_baseline = f"Of {len(comparisons)} arms compared with {_quoted(comparisons[0].baseline)}"
    return f"{with_baseline} in {describe(metric, target).noun}: {_verdicts(comparisons)}."


def _verdicts(comparisons: list[Comparison]) -> str:
    found = Counter(verdict(comparison) for comparison in comparisons)
    return ", ".join(f"{number} {name}" for name, number in found.most_common())


def _basis(comparison: Comparison) -> str:
    text = count(comparison.pairs, "pair")
    if comparison.unit == "block":
        text += f" in {count(comparison.units, 'block')}"
    return f"{text}, {comparison.missing} missing" if comparison.missing else text


def _quoted(arm: str) -> str:
    """A label that would blur into its sentence, in quotation marks."""
    return f"“{arm}”" if "," in arm or " " in arm else arm
