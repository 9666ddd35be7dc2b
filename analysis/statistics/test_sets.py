"""Errors on test sets of their own, beside those on the test split, and their changes against the baseline."""

from dataclasses import dataclass

from tesseral.analysis.statistics.comparisons.paired import arm_errors, compare_arms
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import Estimate
from tesseral.study.configuration.metrics import METRICS


@dataclass(frozen=True)
class SetError:
    """One metric of an arm on the test split or on a test set of its own."""

    arm: str
    tests: str
    """Name in `data.tests`, or `test` for the test split."""
    metric: str
    """Name in `METRICS`."""
    unit: str
    """Empty for a dimensionless number, or if it is not known."""
    error: Estimate | None
    """Mean over units. That on a test set is of its structures alone: it has no interval for new data."""
    change: Estimate | None
    """Paired change against the baseline, percent, not corrected for multiple comparisons; None for a baseline."""


def errors_by_set(tables: StudyTables) -> tuple[SetError, ...]:
    """Every recorded metric of one number on the test split and on each test set; empty without test sets.

    :returns: in the order of the metrics, then of the sets, then of the arms.
    """
    study, found = tables.study, []
    baselines = {arm: study.baseline_of(arm) for arm in study.arms}
    for name, declared in METRICS.items():
        for tests in ("test", *study.tests) if study.tests else ():
            metric = f"{tests}.{name}"
            if declared.by_l or f"metric.{metric}" not in tables.trials.columns:
                continue
            sampling = study.sampling_of(metric)
            compared = compare_arms(tables.trials, metric, study.arms, baselines, sampling)
            changes = {each.arm: each.change for each in compared}
            for mean in arm_errors(tables.trials, metric, study.arms, sampling):
                target = study.target_of(mean.arm)
                if name in target.quantity.metrics and mean.error is not None:
                    unit = target.unit_of(declared)
                    found.append(SetError(mean.arm, tests, name, unit, mean.error, changes.get(mean.arm)))
    return tuple(found)
