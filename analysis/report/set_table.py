"""The table of errors by test set: one row for each metric, test set and arm."""

from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import interval_here
from tesseral.analysis.terms.metric_label import describe, typeset


def set_table(results: Results) -> list[dict[str, str]]:
    """One dictionary (heading → cell) for each error; empty for a study without test sets of their own."""
    study = results.study
    return [
        {
            "metric": describe(f"test.{each.metric}", study.target_of(each.arm)).name,
            "on": each.tests,
            "arm": each.arm,
            "error": interval_here(each.error, typeset(each.unit)) if each.error else "–",
            "change, %": interval_here(each.change, signed=True)
            if each.change
            else "baseline"
            if study.baseline_of(each.arm) == each.arm
            else "–",
        }
        for each in results.test_sets
    ]
