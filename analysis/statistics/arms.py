"""The arms of a study: the error of each, its change against the baseline of its group, and its cost."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

import polars as pl

from tesseral.analysis.statistics.comparisons.outliers import FailingStarts, failing_starts, outlier_note
from tesseral.analysis.statistics.comparisons.paired import ArmError, Comparison, among, arm_errors, compare_arms
from tesseral.analysis.statistics.progress import blocks_given
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import Estimate, signed_percent
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.configuration.trial import State
from tesseral.study.design.match import LOOSE
from tesseral.study.wording import count, plural


@dataclass(frozen=True)
class MetricError:
    """One metric of an arm, on what the study's metric is measured on."""

    unit: str
    """Unit of `error`; empty for a dimensionless number, or if it is not known."""
    error: Estimate | None
    """Mean over units; None without a complete trial."""


@dataclass(frozen=True)
class ArmSummary:
    """What a report states of one arm."""

    arm: str
    target: TargetLabel
    baseline: str | None
    """The arm it is compared with; itself for a baseline, None if no arm of its group has the baseline's levels."""
    error: ArmError
    """By the study's metric."""
    errors: Mapping[str, MetricError]
    """Name of the metric → error, for every recorded metric of the arm's target that is a single number, on what the
    study's metric is measured on."""
    comparison: Comparison | None
    """None for a baseline, and for an arm without one."""
    parameters: int | None
    """Trainable parameters of the network; None before a trial of the arm is due. Where the arm's searches chose
    networks of different size, this and the next three are the median over them (the lower of two middle ones)."""
    parameters_live: int | None
    """Parameters that a gradient can reach."""
    components: int | None
    """Components of the hidden features of an atom, in the widest layer."""
    flops: int | None
    """Floating-point operations of the matrix products of a training step."""
    spans: Mapping[str, tuple[int, int]]
    """Name of one of these four sizes → the smallest and the largest that the arm's searches chose, if they differ."""
    match: str
    """The size in which the arm was made equal to others: none, parameters, components or flops."""
    residual: float | None
    """Size of the arm divided by the size it is matched to, minus 1; of several settings, the largest in magnitude."""
    seconds: float | None
    """Median training time of its complete trials, s."""
    unreachable: str | None
    """Irreps of the target that no path of the network reaches; they are predicted as zero."""
    dead: str | None
    """Hidden irreps that no path produces or none reads, in words."""
    failed: int
    """Failed trials of the confirm stage."""
    failing: FailingStarts | None
    """Its failed and outlying trials; None if there are none."""
    confirmed: bool
    """False if no trial of the arm's search was completed: then there is no setting to confirm."""

    def bounds(self, size: str) -> tuple[int, int] | None:
        """The smallest and the largest size of the arm's networks.

        :param size: parameters, parameters_live, components or flops.
        :returns: None if it is not recorded.
        """
        value = getattr(self, size)
        return None if value is None else self.spans.get(size, (value, value))

    @property
    def flags(self) -> tuple[str, ...]:
        """Notes that belong to the arm's row in a table."""
        flags = [f"cannot reach {self.unreachable}"] if self.unreachable else []
        if not self.confirmed:
            flags.append("not confirmed: no trial of its search was completed")
        if self.baseline is None:
            flags.append("not compared: no arm of its group has the baseline's levels")
        if self.match != "none" and self.residual is not None and abs(self.residual) > LOOSE:
            flags.append(f"size differs from its target by {signed_percent(self.residual)} %")
        if self.failed:
            flags.append(f"{count(self.failed, 'trial')} failed")
        if self.failing and (note := outlier_note(self.failing)):
            flags.append(note)
        if self.error.units and self.error.error is not None and self.error.error.shown[0] is None:
            flags.append(f"too few {plural(self.error.unit)} for an interval")
        return tuple(flags)


def summarise_arms(tables: StudyTables, questions: int = 1) -> tuple[ArmSummary, ...]:
    """The summary of every arm, in the order of the study.

    :param questions: number of questions that are answered side by side with the comparisons, for which their p-values
        are corrected too.
    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    """
    study, trials = tables.study, tables.trials
    baselines = {arm: study.baseline_of(arm) for arm in study.arms}
    compared = compare_arms(trials, study.metric, study.arms, baselines, study.sampling)
    comparisons = {
        each.arm: replace(each, p_holm=among(each.p_holm, questions), p_holm_here=among(each.p_holm_here, questions))
        for each in compared
    }
    failing = {each.arm: each for each in failing_starts(tables)}
    facts, blocks, errors = _facts(trials, study.searches), blocks_given(tables), _metric_errors(tables)
    return tuple(
        ArmSummary(
            arm=error.arm,
            target=study.target_of(error.arm),
            baseline=baselines[error.arm],
            error=error,
            errors=errors[error.arm],
            comparison=comparisons.get(error.arm),
            failing=failing.get(error.arm),
            confirmed=blocks[error.arm] > 0,
            **facts.get(error.arm, _NO_FACTS),
        )
        for error in arm_errors(trials, study.metric, study.arms, study.sampling)
    )


def _metric_errors(tables: StudyTables) -> dict[str, dict[str, MetricError]]:
    """Arm → metric → error, for the recorded metrics of its target."""
    study = tables.study
    errors: dict[str, dict[str, MetricError]] = {arm: {} for arm in study.arms}
    split = study.metric.partition(".")[0]
    for name, metric in METRICS.items():
        if metric.by_l or f"metric.{split}.{name}" not in tables.trials.columns:
            continue
        for error in arm_errors(tables.trials, f"{split}.{name}", study.arms, study.sampling):
            target = study.target_of(error.arm)
            if name in target.quantity.metrics:
                errors[error.arm][name] = MetricError(target.unit_of(metric), error.error)
    return errors


SIZES = ("parameters", "parameters_live", "components", "flops")
"""Columns of sizes, which trials of one setting share: all of an arm, or those of one of its searches."""
_NO_FACTS: dict[str, Any] = dict.fromkeys((*SIZES, "residual", "seconds", "unreachable", "dead")) | {
    "match": "none",
    "failed": 0,
    "spans": {},
}


def _facts(trials: pl.DataFrame, searches: int) -> dict[str, dict[str, Any]]:
    """Arm → its sizes, what its networks cannot reach or use, and what the trials of its confirm stage cost.

    :param searches: number of independent searches in each arm; 0 without a search.
    """
    state, confirm = pl.col("state"), trials.filter(pl.col("stage") == "confirm")
    frame = (
        confirm.group_by("arm")
        .agg(
            pl.col("match").drop_nulls().first(),
            # The median, because trials that share a machine with others may take much longer.
            pl.col("seconds").filter(state == State.COMPLETE.value).median(),
            pl.col("unreachable").drop_nulls().unique().sort().str.join(", "),
            pl.col("dead").drop_nulls().unique().sort().str.join("; "),
            failed=(state == State.FAILED.value).sum(),
        )
        .with_columns(
            pl.col("match").fill_null("none"),
            *(pl.when(pl.col(name) != "").then(name) for name in ("unreachable", "dead")),
        )
    )
    search = (pl.col("block") % max(1, searches)).alias("search")
    settings = confirm.group_by("arm", search).agg(pl.col(*SIZES, "residual").drop_nulls().first())
    sizes = {arm: _sizes(of_arm) for (arm,), of_arm in settings.partition_by("arm", as_dict=True).items()}
    return {arm: facts | sizes[arm] for facts in frame.to_dicts() for arm in [facts.pop("arm")]}


def _sizes(settings: pl.DataFrame) -> dict[str, Any]:
    """The median of each size, the spans of those that differ, and the largest residual of one arm.

    :param settings: one row for each setting, with the columns `SIZES` and `residual`.
    """
    known = {size: sorted(settings[size].drop_nulls()) for size in SIZES}
    return {
        **{size: median_low(values) if values else None for size, values in known.items()},
        "spans": {size: (values[0], values[-1]) for size, values in known.items() if len({*values}) > 1},
        "residual": max(settings["residual"].drop_nulls(), key=abs, default=None),
    }
