"""What a study found, in sentences that say no more than its intervals do."""

from tesseral.analysis.load import StudyTables
from tesseral.analysis.statistics import Comparison
from tesseral.analysis.summary import Row, progress, rows
from tesseral.analysis.wording import count, describe, interval, p_value

_DECIDED = 0.05
"""A comparison is decided when its Holm-corrected p-value is below this."""


def findings(tables: StudyTables) -> list[str]:
    """The report's opening paragraph, a list of sentences.

    A change is stated as fact only where its interval excludes zero and so does Holm's correction over all arms;
    elsewhere the sentence says undecided, or why there is no interval.
    """
    summary = rows(tables)
    stands = progress(tables)
    sentences = []
    if stands.unfinished:
        sentences.append(f"{stands.complete} of {count(stands.planned, 'trial')} are complete: this is preliminary.")
    if not any(row.error.error for row in summary):
        return [*sentences, "No trial is complete, so there is nothing to compare yet."]
    sentences.append(_lowest(summary, tables.study.metric))
    return sentences + [compared(row.comparison, tables.study.metric) for row in summary if row.comparison is not None]


def _lowest(summary: list[Row], metric: str) -> str:
    measured = [(row.error.error, row) for row in summary if row.error.error is not None]
    estimate, row = min(measured, key=lambda pair: pair[0].value)
    told = describe(metric)
    over = count(row.error.units, row.error.unit)
    if len(measured) == 1:
        return f"The mean of {told.noun} in {row.arm} is {interval(estimate, told.unit)} ({over})."
    return f"The mean of {told.noun} is lowest in {row.arm}: {interval(estimate, told.unit)} ({over})."


def compared(comparison: Comparison, metric: str) -> str:
    """One arm against the baseline, as a sentence."""
    noun = describe(metric).noun
    arm, change = comparison.arm, comparison.change
    if comparison.pairs == 0:
        return f"{arm} cannot be compared with {comparison.baseline}: no pair of trials is complete."
    basis = count(comparison.pairs, "pair")
    if comparison.unit == "block":
        basis += f" in {count(comparison.units, 'block')}"
    against = f"Against {comparison.baseline}, {arm}"
    if change is None:
        return f"{against} has no relative change, for an error is zero ({basis})."
    if change.low is None or change.high is None:
        return f"{against} changes {noun} by {interval(change, '%')} ({basis}: too few for an interval)."
    lower = change.value < 0
    by = f"by {interval(change, '%', flip=lower)}"
    verb = "lower" if lower else "raise"
    if not change.excludes_zero:
        return f"{against} is undecided: {noun} changes by {interval(change, '%')} ({basis})."
    p = 1.0 if comparison.p_holm is None else comparison.p_holm
    if p >= _DECIDED:
        return f"{against} seems to {verb} {noun} {by} ({basis}), but not after Holm's correction ({p_value(p)})."
    return f"{against} {verb}s {noun} {by} ({basis})."
