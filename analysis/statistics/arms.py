"""The arms of a study: the error of each, its change against the baseline of its group, and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from tesseral.analysis.statistics.allocation import blocks_given
from tesseral.analysis.statistics.paired import ArmError, Comparison, arm_errors, compare_arms
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.analysis.terms.wording import signed_percent
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.configuration.trial import State

LOOSE = 0.01
"""Residual of a match from which on it is flagged."""


@dataclass(frozen=True)
class Measured:
    """One metric of an arm, on the test split."""

    unit: str
    error: Estimate | None
    """None without a complete trial."""


@dataclass(frozen=True)
class Row:
    """An arm in the summary."""

    arm: str
    target: TargetLabel
    baseline: str | None
    """The arm that it is compared with, itself for a baseline; None where no arm of its group has the levels."""
    error: ArmError
    """By the study's metric."""
    errors: Mapping[str, Measured]
    """By every metric of its target that is one number, and recorded: name → error."""
    comparison: Comparison | None
    """None for a baseline, and for an arm that has none."""
    parameters: int | None
    """Trainable numbers of the network; None before a trial of the arm is due."""
    parameters_live: int | None
    """Those that a gradient can reach."""
    components: int | None
    """Numbers that the hidden features of an atom hold, in the widest layer."""
    flops: int | None
    """Floating-point operations of a training step."""
    match: str
    """In what the arm was made equal to others: none, parameters, components or flops."""
    residual: float | None
    """Size over the size that it is matched to, less 1."""
    seconds: float | None
    """Median training time of its complete trials."""
    unreachable: str | None
    """Outputs that the arm cannot reach, predicted zero."""
    dead: str | None
    """Hidden irreps that nothing feeds or nothing reads, in words."""
    failed: int
    """Failed trials."""
    confirmed: bool
    """False if no trial of the arm's search was completed, so that there is nothing to confirm."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader of the row must know."""
        flags = [f"cannot reach {self.unreachable}"] if self.unreachable else []
        if not self.confirmed:
            flags.append("not confirmed: no trial of its search was completed")
        if self.baseline is None:
            flags.append("compared with none: no arm of its group has the baseline's levels")
        if self.match != "none" and self.residual is not None and abs(self.residual) > LOOSE:
            flags.append(f"{signed_percent(self.residual)} % off the size that it is matched to")
        if self.failed:
            flags.append(f"{self.failed} failed")
        if self.error.units and self.error.error is not None and self.error.error.low is None:
            flags.append(f"too few {self.error.unit}s for an interval")
        return tuple(flags)


def rows(tables: StudyTables) -> list[Row]:
    """The summary of a study, in the order of its arms.

    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    """
    study, trials = tables.study, tables.trials
    own = {arm: study.baseline_of(arm) for arm in study.arms}
    compared = compare_arms(trials, study.metric, study.arms, own, study.most_blocks)
    comparisons = {comparison.arm: comparison for comparison in compared}
    facts, given, measured = _facts(trials), blocks_given(tables), _measured(tables)
    return [
        Row(
            arm=error.arm,
            target=study.target_of(error.arm),
            baseline=own[error.arm],
            error=error,
            errors=measured[error.arm],
            comparison=comparisons.get(error.arm),
            confirmed=given[error.arm] > 0,
            **facts.get(error.arm, _NOTHING),
        )
        for error in arm_errors(trials, study.metric, study.arms, study.most_blocks)
    ]


def _measured(tables: StudyTables) -> dict[str, dict[str, Measured]]:
    """Arm → metric → error, of the metrics of its target that are recorded."""
    study, found = tables.study, {arm: dict[str, Measured]() for arm in tables.study.arms}
    for name, metric in METRICS.items():
        if metric.by_l or f"metric.test.{name}" not in tables.trials.columns:
            continue
        for error in arm_errors(tables.trials, f"test.{name}", study.arms, study.most_blocks):
            target = study.target_of(error.arm)
            if metric.of(target.quantity):
                found[error.arm][name] = Measured(target.unit if name == "error" else metric.unit, error.error)
    return found


_FIRST = ("parameters", "parameters_live", "components", "flops", "match", "residual", "dead")
_NOTHING: dict[str, Any] = dict.fromkeys((*_FIRST, "seconds", "unreachable")) | {"match": "none", "failed": 0}


def _facts(trials: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Arm → what the trials of its confirm stage share, and what they cost."""
    state = pl.col("state")
    frame = (
        trials.filter(pl.col("stage") == "confirm")
        .group_by("arm")
        .agg(
            pl.col(*_FIRST).drop_nulls().first(),
            pl.col("seconds").filter(state == State.COMPLETE.value).median(),
            pl.col("unreachable").drop_nulls().unique().sort().str.join(", "),
            failed=(state == State.FAILED.value).sum(),
        )
        .with_columns(
            pl.col("match").fill_null("none"),
            pl.when(pl.col("unreachable") != "").then("unreachable"),
        )
    )
    return {row.pop("arm"): row for row in frame.to_dicts()}
