"""Errors of arms, and paired changes against a baseline, with 95 % intervals.

All arms share blocks (a split of the data and its order) and replicates (an initialisation within a block), so arms are
compared in pairs of equal block and replicate. `tesseral.analysis.terms.sampling` says what is averaged first, what
the unit is, and what its two intervals hold for.

Errors are averaged as logarithms, so the error of an arm is a geometric mean, and the change between two arms whose
trials are all complete is the ratio of their errors. Errors are positive and skewed, and those of different blocks
differ by factors; their logarithms are close to normal. If an error is zero or negative, the mean of an arm is the
arithmetic one, and there is no change.

Sources: Bland & Altman, BMJ 312, 1153 (1996), on ratios; Holm, Scand. J. Stat. 6, 65 (1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, expm1, isfinite
from typing import Literal

import numpy as np
import polars as pl

from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling, Unit
from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError, TesseralError

_PLACES = pl.struct("block", "replicate")


@dataclass(frozen=True)
class ArmError:
    """The mean error of an arm over its complete trials."""

    arm: str
    trials: int
    """Complete trials with a finite error."""
    unit: Unit
    """What counts as one independent value; see `Sampling`."""
    units: int
    """Number of units with a complete trial."""
    error: Estimate | None
    """Geometric mean over units, in the metric's unit; arithmetic if an error is not positive; None without a complete
    trial."""
    deviation: float | None
    """Standard deviation between trials (n − 1), between blocks and within them; None below two trials."""


@dataclass(frozen=True)
class Comparison:
    """An arm compared with its baseline, over the pairs (block, replicate) that both completed."""

    arm: str
    baseline: str
    pairs: int
    """Pairs in which both trials are complete and have a finite error."""
    missing: int
    """Trials of the arm without a pair, because they or their partners have no error (yet)."""
    unit: Literal["search", "block", "pair"]
    """What counts as one independent value; see `Sampling`. With `pair`, nothing is said beyond these splits."""
    units: int
    """Number of units with a pair."""
    difference: Estimate | None
    """Mean of x_arm − x_baseline, in the metric's unit; None without a pair."""
    change: Estimate | None
    """100·(exp(mean of log(x_arm / x_baseline)) − 1), percent; None without a pair, or if an error is not positive."""
    p_holm: float | None = None
    """`change.p` after Holm's correction over all comparisons of one call; intervals are not corrected."""
    p_holm_here: float | None = None
    """The same for these data alone, from `change.here.p`."""


def trial_errors(trials: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Errors of the complete trials of the confirm stage, where finite.

    :param metric: such as `test.epsilon`, a column of `trials` without its leading `metric.`.
    :returns: trial, arm, block, replicate, error; the error is in the metric's unit.
    :raises TesseralError: if trials are complete, but this metric is not recorded.
    :raises RecordError: if an arm has several complete trials of one block and replicate.
    """
    column = f"metric.{metric}"
    keys = ["trial", "arm", "block", "replicate"]
    complete = trials.filter(pl.col("stage") == "confirm", pl.col("state") == State.COMPLETE.value)
    if column not in trials.columns:
        if complete.height:
            known = [name.removeprefix("metric.") for name in trials.columns if name.startswith("metric.")]
            raise TesseralError(f"expected a recorded metric, got {metric!r}; valid are {', '.join(known) or 'none'}")
        return complete.select(keys, error=pl.lit(None, dtype=pl.Float64))
    measured = complete.select(*keys, error=pl.col(column).cast(pl.Float64)).filter(pl.col("error").is_finite())
    twice = measured.filter(pl.struct("arm", "block", "replicate").is_duplicated())
    if twice.height:
        arm, block, replicate = twice.row(0)[1:4]
        raise RecordError(
            f"expected one complete trial for each arm, block and replicate, got several of arm {arm!r}, "
            f"block {block}, replicate {replicate}"
        )
    return measured


def arm_errors(trials: pl.DataFrame, metric: str, arms: Sequence[str], sampling: Sampling) -> list[ArmError]:
    """The mean error of each arm over the units of the design, with its 95 % intervals.

    See `trial_errors` for which trials count and what is raised.

    :param trials: the trials table.
    :param metric: such as `test.epsilon`.
    :param arms: labels as in the column `arm`.
    :param sampling: of the study.
    :returns: one mean for each of `arms`, in their order, in the metric's unit.
    """
    measured = trial_errors(trials, metric)
    parts = measured.partition_by("arm", as_dict=True)
    return [arm_error(arm, parts.get((arm,), measured.clear()), sampling) for arm in arms]


def arm_error(arm: str, rows: pl.DataFrame, sampling: Sampling) -> ArmError:
    """The mean error of one arm; `rows` are its part of `trial_errors`, and may be empty."""
    values = rows["error"].to_numpy()
    error = None
    if values.size and 0 < values.min() < values.max():
        error = sampling.estimate(rows, np.log(values), arm).transformed(exp)
    elif values.size:
        error = sampling.estimate(rows, values, arm)
        # The t interval knows no bound, but an error has one: a part below zero cannot hold the mean.
        if values.min() >= 0:
            error = error.transformed(lambda bound: max(0.0, bound))
    return ArmError(
        arm=arm,
        trials=rows.height,
        unit=sampling.unit,
        units=sampling.units(rows, values).size,
        error=error,
        deviation=float(values.std(ddof=1)) if values.size > 1 else None,  # of trials, whatever the unit is
    )


def compare_arms(
    trials: pl.DataFrame, metric: str, arms: Sequence[str], baseline: str | Mapping[str, str | None], sampling: Sampling
) -> list[Comparison]:
    """Compare each arm with its baseline in pairs, with Holm's correction over all comparisons.

    :param metric: such as `test.epsilon`.
    :param baseline: one for all arms, or arm → its own. An arm that is its own baseline, or has none, is not compared.
    :param sampling: of the study.
    :returns: one comparison for each compared arm, in the order of `arms`.
    :raises TesseralError: if a baseline is not among `arms`; see `trial_errors` for what else is raised.
    """
    bases = dict.fromkeys(arms, baseline) if isinstance(baseline, str) else {arm: baseline.get(arm) for arm in arms}
    for name in bases.values():
        if name is not None and name not in arms:
            raise TesseralError(f"expected a baseline among the arms, got {name!r}; valid are {', '.join(arms)}")
    pairs = [(arm, base) for arm, base in bases.items() if base is not None and base != arm]
    return compare_pairs(trials, metric, pairs, sampling)


def compare_pairs(
    trials: pl.DataFrame, metric: str, pairs: Sequence[tuple[str, str]], sampling: Sampling
) -> list[Comparison]:
    """Compare pairs of arms, with Holm's correction over all of them.

    :param metric: such as `test.epsilon`.
    :param pairs: arm and what it is compared with.
    :param sampling: of the study.
    :returns: one comparison for each pair, in their order; see `trial_errors` for what is raised.
    """
    measured = trial_errors(trials, metric)
    parts = measured.partition_by("arm", as_dict=True)
    given = dict(trials.filter(pl.col("stage") == "confirm").group_by("arm").agg(_PLACES.n_unique()).iter_rows())

    def compare(arm: str, base: str) -> Comparison:
        rows, others = (parts.get((name,), measured.clear()) for name in (arm, base))
        return _compare(rows, others, arm, base, given.get(arm, 0), sampling)

    comparisons = [compare(*pair) for pair in pairs]
    changes = [comparison.change for comparison in comparisons]
    new = corrected([change.p if change else None for change in changes])
    here = corrected([change.here.p if change and change.here else None for change in changes])
    return [replace(c, p_holm=p, p_holm_here=q) for c, p, q in zip(comparisons, new, here, strict=True)]


def among(p: float | None, questions: int) -> float | None:
    """A p-value corrected for questions that are answered side by side (Bonferroni): p times their number, or 1."""
    return None if p is None else min(1.0, questions * p)


def corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values after Holm's correction over those that there are."""
    corrected = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(corrected) for p in p_values]


def _compare(
    rows: pl.DataFrame, others: pl.DataFrame, arm: str, baseline: str, given: int, sampling: Sampling
) -> Comparison:
    """Compare two arms, of which `rows` and `others` are the parts of `trial_errors`.

    :param given: number of trials that the arm has in the trials table, in whatever state.
    """
    pairs = _paired(rows, others)
    x, x_baseline = pairs["error"].to_numpy(), pairs["error_baseline"].to_numpy()
    change = None
    if pairs.height and min(x.min(), x_baseline.min()) > 0:
        change = relative_change(pairs, np.log(x / x_baseline), sampling, arm, baseline)
    return Comparison(
        arm=arm,
        baseline=baseline,
        pairs=pairs.height,
        missing=given - pairs.height,
        unit="pair" if sampling.unit == "trial" else sampling.unit,
        units=sampling.units(pairs, x).size,
        difference=sampling.estimate(pairs, x - x_baseline, arm, baseline) if pairs.height else None,
        change=change,
    )


def paired_errors(trials: pl.DataFrame, metric: str, arm: str, baseline: str) -> pl.DataFrame:
    """Errors of an arm and its baseline in the pairs that both completed.

    See `trial_errors` for which trials count and what is raised.

    :param metric: such as `test.epsilon`.
    :returns: block, replicate, error, error_baseline, sorted; both errors are in the metric's unit.
    """
    measured = trial_errors(trials, metric)
    return _paired(*(measured.filter(pl.col("arm") == name) for name in (arm, baseline)))


def log_ratios(trials: pl.DataFrame, metric: str, arm: str, baseline: str) -> pl.DataFrame:
    """Logarithms log(x_arm / x_baseline) of the paired error ratios, where both errors are positive.

    See `trial_errors` for which trials count and what is raised.

    :param metric: such as `test.relative_error`.
    :returns: block, replicate, ratio, sorted.
    """
    pairs = paired_errors(trials, metric, arm, baseline).filter(pl.min_horizontal("error", "error_baseline") > 0)
    return pairs.select("block", "replicate", ratio=(pl.col("error") / pl.col("error_baseline")).log())


def _paired(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """block, replicate, error and error_baseline of the complete pairs, sorted."""
    key = ["block", "replicate"]
    left, right = (part.select(*key, "error") for part in (rows, others))
    return left.join(right, on=key, suffix="_baseline").sort(key)


def relative_change(rows: pl.DataFrame, logs: np.ndarray, sampling: Sampling, *arms: str) -> Estimate:
    """100·(exp(mean of the logarithms of paired ratios) − 1), percent, with its 95 % intervals.

    Logarithms, because errors of different blocks differ by factors, and because the ratio of two arms and its inverse
    then have inverse means (Bland & Altman, BMJ 312, 1153, 1996). Intervals are computed for the logarithm and then
    transformed, so they are not symmetric about the change. p stays, because no change is log 1 = 0.

    :param rows: a frame with the column `block`, one row for each of `logs`.
    :param logs: logarithms of the ratios.
    :param sampling: of the study.
    :param arms: the arms that are compared.
    :raises TesseralError: if there is no ratio.
    """
    return sampling.estimate(rows, logs, *arms).transformed(lambda log_ratio: 100 * expm1(log_ratio))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of m p-values: p_(i) becomes max over j ≤ i of min(1, (m − j + 1)·p_(j)).

    It keeps the chance of any false claim among the m below the level of significance, however the tests depend on each
    other: here all share the baseline (Holm, Scand. J. Stat. 6, 65, 1979).

    :returns: adjusted p-values in the order given.

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
