"""Notes on how a study departs from the plain case: copied trials, excluded arms, searches that ended early."""

from collections.abc import Iterable

from tesseral.analysis.report.growth_text import growth_sentences
from tesseral.analysis.statistics.progress import searches
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.study.design.arm import Excluded
from tesseral.study.wording import count


def notes(tables: StudyTables) -> list[str]:
    """Every departure from the plain case, a sentence each."""
    return [
        *tables.study.doubts,
        *growth_sentences(tables.study),
        *chosen_baseline(tables.study),
        *reuse(tables),
        *_excluded(tables),
        *_searches(tables),
    ]


def chosen_baseline(study: StudyInfo) -> list[str]:
    """A sentence if a reader compares with another arm than the study does."""
    if not study.chosen_baseline:
        return []
    return [
        f"Arms are compared with {study.baseline}, as requested; the study’s own baseline is {study.own_baseline}. "
        "p-values are corrected for the comparisons shown here only."
    ]


def reuse(tables: StudyTables) -> list[str]:
    """Trials that were copied from another study, a sentence for each study."""
    trials = tables.trials
    copied = trials.drop_nulls("reused").group_by("reused").len().sort("reused").iter_rows()
    return [
        f"{n:,} of {count(trials.height, 'trial')} {'was' if n == 1 else 'were'} trained earlier by the study {study} "
        "and copied."
        for study, n in copied
    ]


def _excluded(tables: StudyTables) -> list[str]:
    return [
        f"{count(len(labels), 'arm')} excluded by the condition “{condition}”: {'; '.join(labels)}."
        for condition, labels in by_condition(tables.study.excluded).items()
    ]


def by_condition(excluded: Iterable[Excluded]) -> dict[str, list[str]]:
    """Condition → labels of the arms that do not meet it."""
    conditions: dict[str, list[str]] = {}
    for arm in excluded:
        conditions.setdefault(arm.condition, []).append(arm.label)
    return conditions


def _searches(tables: StudyTables) -> list[str]:
    sentences, repeats = [], tables.study.searches
    for search in searches(tables):
        if search.ended is None:
            continue
        number = f" {search.repeat}" if repeats > 1 else ""
        if search.planned < search.budget:
            made = f"{search.planned:,} of {count(search.budget, 'proposal')}"
            sentences.append(f"The search{number} of {search.arm} ended after {made}: {search.ended}.")
        if search.best is None:
            where = f" in block {search.repeat} and every {repeats} blocks after it" if number else ""
            sentences.append(
                f"{search.arm} is not confirmed{where}, because no trial of its search{number} was completed."
            )
    return sentences
