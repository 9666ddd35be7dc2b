"""Errors by arm, and what an arm changes against a baseline, with intervals that respect how trials are paired.

Trials of all arms share blocks (a split and an order of the data) and replicates (an initialisation in a block),
so arms are compared in pairs of equal block and replicate. Pairs of one block share its split and are not
independent. In a study planned with three blocks or more, therefore, the replicates of a block are averaged first and
the block is the unit, however many blocks are finished yet; in one planned with fewer, pairs are the units, and the
interval is conditional on these splits.

For n units x_i of mean x̄ and standard deviation s, the interval is Student's, x̄ ± t(0.975, n − 1)·s/√n, two-sided
at 95 %, and p belongs to the same test. Below three units there is no interval. That of an arm's error ends at zero
where it would reach below and no error is negative: which changes nothing about how often it holds the mean.

Blocks re-split one data set, so their test and training structures overlap between blocks: intervals speak of
new splits and initialisations of these data, not of new data.

Sources: Student, Biometrika 6, 1 (1908); Hurlbert, Ecol. Monogr. 54, 187 (1984), on units that only seem
independent; Bland & Altman, BMJ 312, 1153 (1996), on ratios; Holm, Scand. J. Stat. 6, 65 (1979); Nadeau &
Bengio, Mach. Learn. 52, 239 (2003), on overlapping splits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import expm1, isfinite
from typing import Literal

import numpy as np
import polars as pl

from tesseral.analysis.terms.estimate import FEWEST_UNITS, Estimate, t_estimate
from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError, TesseralError

_PLACES = pl.struct("block", "replicate")


@dataclass(frozen=True)
class ArmError:
    """The error of an arm over its complete trials."""

    arm: str
    trials: int
    unit: Literal["block", "trial"]
    units: int
    error: Estimate | None
    """Mean over units; None without a complete trial."""
    deviation: float | None
    """Standard deviation between trials (n − 1), which holds the spread of blocks too; None below two trials."""


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline, over the pairs (block, replicate) that both completed."""

    arm: str
    baseline: str
    pairs: int
    missing: int
    """Trials of the arm that make no pair, because they or their partner have no error (yet)."""
    unit: Literal["block", "pair"]
    """`pair`: the interval is conditional on these splits."""
    units: int
    difference: Estimate | None
    """Mean of x_arm − x_baseline, in the metric's unit; None without a pair."""
    change: Estimate | None
    """100·(exp(mean of log(x_arm / x_baseline)) − 1), percent; None without a pair or if an error is not positive."""
    p_holm: float | None = None
    """`change.p` after Holm's correction for all comparisons of the call; the intervals are not corrected."""


def trial_errors(trials: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Complete trials of the confirm stage with a finite error: trial, arm, block, replicate, error.

    :param metric: such as `test.epsilon`, a column of `trials` without its leading `metric.`.
    :raises TesseralError: if trials are complete, but none has this metric.
    :raises RecordError: if an arm has two such trials of one block and replicate.
    """
    column = f"metric.{metric}"
    keys = ["trial", "arm", "block", "replicate"]
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    if column not in trials.columns:
        if complete.height:
            known = [name.removeprefix("metric.") for name in trials.columns if name.startswith("metric.")]
            raise TesseralError(f"expected a recorded metric, got {metric!r}; valid are {', '.join(known) or 'none'}")
        return complete.select(keys, error=pl.lit(None, dtype=pl.Float64))
    found = complete.select(*keys, error=pl.col(column).cast(pl.Float64)).filter(pl.col("error").is_finite())
    twice = found.filter(pl.struct("arm", "block", "replicate").is_duplicated())
    if twice.height:
        arm, block, replicate = twice.row(0)[1:4]
        raise RecordError(
            f"expected one complete trial for each arm, block and replicate, got several of arm {arm!r}, "
            f"block {block}, replicate {replicate}"
        )
    return found


def arm_errors(trials: pl.DataFrame, metric: str, arms: Sequence[str], blocks: int) -> list[ArmError]:
    """The error of each of `arms`, in their order; see `trial_errors` for which trials count and what is raised.

    :param blocks: planned ones, which decide the unit.
    """
    found = trial_errors(trials, metric)
    parts = found.partition_by("arm", as_dict=True)
    return [_arm_error(arm, parts.get((arm,), found.clear()), blocks) for arm in arms]


def _arm_error(arm: str, rows: pl.DataFrame, blocks: int) -> ArmError:
    values = rows["error"].to_numpy()
    units = _units(rows, values, blocks)
    error = t_estimate(units) if units.size else None
    if error is not None and error.low is not None and units.min() >= 0:
        error = replace(error, low=max(0.0, error.low))
    return ArmError(
        arm=arm,
        trials=rows.height,
        unit="block" if blocks >= FEWEST_UNITS else "trial",
        units=units.size,
        error=error,
        deviation=float(values.std(ddof=1)) if values.size > 1 else None,
    )


def compare_arms(
    trials: pl.DataFrame, metric: str, arms: Sequence[str], baseline: str | Mapping[str, str | None], blocks: int
) -> list[Comparison]:
    """Every other arm of `arms` against its baseline, in their order, with Holm's correction over all of them.

    :param baseline: one for all arms, or that of each: an arm that is its own, or has none, is not compared.
    :param blocks: planned ones, which decide the unit.
    :raises TesseralError: if a baseline is not among `arms`; see `trial_errors` for what else is raised.
    """
    bases = dict.fromkeys(arms, baseline) if isinstance(baseline, str) else {arm: baseline.get(arm) for arm in arms}
    for name in bases.values():
        if name is not None and name not in arms:
            raise TesseralError(f"expected a baseline among the arms, got {name!r}; valid are {', '.join(arms)}")
    found = trial_errors(trials, metric)
    parts = found.partition_by("arm", as_dict=True)
    given = dict(trials.filter(pl.col("stage") == "confirm").group_by("arm").agg(_PLACES.n_unique()).iter_rows())

    def compare(arm: str, base: str) -> Comparison:
        rows, others = (parts.get((name,), found.clear()) for name in (arm, base))
        return _compare(rows, others, arm, base, given.get(arm, 0), blocks)

    comparisons = [compare(arm, base) for arm, base in bases.items() if base is not None and base != arm]
    tested = [i for i, c in enumerate(comparisons) if c.change is not None and c.change.p is not None]
    corrected = holm([comparisons[i].change.p for i in tested])  # type: ignore[union-attr, misc]
    for i, p in zip(tested, corrected, strict=True):
        comparisons[i] = replace(comparisons[i], p_holm=p)
    return comparisons


def _compare(rows: pl.DataFrame, others: pl.DataFrame, arm: str, baseline: str, given: int, blocks: int) -> Comparison:
    """Of the errors of an arm, which was given so many trials, and those of the baseline."""
    pairs = _paired(rows, others)
    x, x_baseline = pairs["error"].to_numpy(), pairs["error_baseline"].to_numpy()
    differences = _units(pairs, x - x_baseline, blocks)
    change = None
    if pairs.height and min(x.min(), x_baseline.min()) > 0:
        change = relative_change(pairs, np.log(x / x_baseline), blocks)
    return Comparison(
        arm=arm,
        baseline=baseline,
        pairs=pairs.height,
        missing=given - pairs.height,
        unit="block" if blocks >= FEWEST_UNITS else "pair",
        units=differences.size,
        difference=t_estimate(differences) if differences.size else None,
        change=change,
    )


def log_ratios(trials: pl.DataFrame, metric: str, arm: str, baseline: str) -> pl.DataFrame:
    """block, replicate and ratio, log(x_arm / x_baseline), of the pairs in which both errors are above zero, sorted.

    See `trial_errors` for which trials count and what is raised.
    """
    found = trial_errors(trials, metric).filter(pl.col("error") > 0)
    pairs = _paired(*(found.filter(pl.col("arm") == name) for name in (arm, baseline)))
    return pairs.select("block", "replicate", ratio=(pl.col("error") / pl.col("error_baseline")).log())


def _paired(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """block, replicate, error and error_baseline of the pairs in which both have one, sorted."""
    key = ["block", "replicate"]
    left, right = (part.select(*key, "error") for part in (rows, others))
    return left.join(right, on=key, suffix="_baseline").sort(key)


def relative_change(rows: pl.DataFrame, logs: np.ndarray, blocks: int) -> Estimate:
    """100·(exp(mean of the logarithms of paired ratios) − 1), percent, with its 95 % interval.

    :param rows: with the column `block`, one for each of `logs`.
    :param blocks: planned ones, which decide the unit.
    :raises TesseralError: if there is no ratio.
    """
    return _percent(t_estimate(_units(rows, logs, blocks)))


def _units(rows: pl.DataFrame, values: np.ndarray, blocks: int) -> np.ndarray:
    """`values` of `rows`, averaged within blocks if three or more are planned."""
    if blocks < FEWEST_UNITS:
        return values
    means = rows.select("block", value=pl.Series(values)).group_by("block").agg(pl.col("value").mean())
    return means.sort("block")["value"].to_numpy()


def _percent(log_ratio: Estimate) -> Estimate:
    def change(value: float | None) -> float | None:
        return None if value is None else 100 * expm1(value)

    return Estimate(100 * expm1(log_ratio.value), change(log_ratio.low), change(log_ratio.high), log_ratio.p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: p_(i) becomes max over j ≤ i of min(1, (m − j + 1)·p_(j)), in the order given.

    :raises TesseralError: if a p-value is not in [0, 1].
    """
    if not all(isfinite(p) and 0 <= p <= 1 for p in p_values):
        raise TesseralError(f"expected p-values in [0, 1], got {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
