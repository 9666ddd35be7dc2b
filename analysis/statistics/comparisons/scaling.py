"""How the error falls with the size of the training set: error ∝ N^−α, where `data.train` is a factor.

Arms that differ in `data.train` alone make one curve. Blocks give them nested training sets and the same test
structures, so α is taken within each pair (block, replicate): minus the least-squares slope of log error against log N,
dimensionless. The curvature, the coefficient c of (log N)² in the least-squares parabola, says whether one exponent
describes the curve: it is zero for a power law and positive where the fall flattens. Exponents of two curves are
compared over the sizes that both have. All are averaged over the units of the design, with intervals for new data
(`tesseral.analysis.terms.sampling`) at the overlap of the smallest training set, which is the largest; Holm's
correction covers all differences and curvatures of the study.

Sources: Hestness et al., arXiv 1712.00409 (2017), on power laws of the error; Cortes et al., NIPS 1993, p. 327.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Literal

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.paired import among, corrected, trial_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import SIGNIFICANCE, Estimate, interval
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.labels import short_names
from tesseral.study.wording import count, listed

_SIZE = "data.train"
_PLACE = ["block", "replicate"]
_MOST_SENTENCES = 4
"""With more curves than this, counts replace the exponents."""


@dataclass(frozen=True)
class SizeCurve:
    """The error of one arm against the size of its training set."""

    name: str
    """Levels of all factors but the size, such as 'lmax=2'; 'all' if there are none."""
    arms: Mapping[int, str]
    """Training structures → arm, ascending; at least two."""
    trials: int
    """Places (block, replicate) with a complete trial of every size."""
    errors: Mapping[int, Estimate]
    """Training structures → geometric mean of the errors over these places, in the metric's unit."""
    level: Estimate
    """The error of the fitted power law at the geometric mean of the sizes, in the metric's unit."""
    exponent: Estimate
    """α, dimensionless: positive where more data lower the error."""
    curvature: Estimate | None
    """c, dimensionless; None with fewer than three sizes."""
    baseline: str | None = None
    """Name of the curve that it is compared with; None for a baseline."""
    pairs: int = 0
    """Places in which both curves are complete at the sizes that they share."""
    difference: Estimate | None = None
    """α minus that of the baseline, over the sizes that both have."""
    p_holm: float | None = None
    """`difference.p` after Holm's correction over all differences and curvatures of the study."""
    p_bent: float | None = None
    """`curvature.p` after the same correction."""

    kept: Literal["epochs", "steps", ""] = ""
    """What trainings at all sizes have the same number of; steps are rounded up to whole epochs."""

    def fitted(self, size: float) -> float:
        """The error of the fitted power law, in the metric's unit.

        :param size: number of training structures.
        """
        centre = np.exp(np.mean(np.log([*self.arms])))
        return float(self.level.value * (size / centre) ** -self.exponent.value)

    def among(self, questions: int) -> "SizeCurve":
        """The same with its p-values corrected for questions that are answered side by side."""
        return replace(self, p_holm=among(self.p_holm, questions), p_bent=among(self.p_bent, questions))


def size_curves(tables: StudyTables) -> tuple[SizeCurve, ...]:
    """The curve of every arm that is trained at two or more sizes, in the study's order.

    :returns: none if `data.train` is no factor, or no place is complete at two sizes.
    :raises TesseralError: if trials are complete, but the study's metric is not recorded.
    """
    study = tables.study
    members: dict[str, dict[int, str]] = {}
    for arm in study.arms:
        if (size := study.levels.get(arm, {}).get(_SIZE)) is not None:
            members.setdefault(_name(study, arm), {})[int(size)] = arm
    curves = {name: dict(sorted(arms.items())) for name, arms in members.items() if len(arms) > 1}
    if not curves:
        return ()
    errors = trial_errors(tables.trials, study.metric).filter(pl.col("error") > 0)
    made = [
        curve
        for name, arms in curves.items()
        if (curve := _curve(name, arms, curves, errors, study, tables.trials)) is not None
    ]
    tested = [estimate for curve in made for estimate in (curve.difference, curve.curvature)]
    p_values = iter(corrected([estimate.p if estimate else None for estimate in tested]))
    return tuple(replace(curve, p_holm=next(p_values), p_bent=next(p_values)) for curve in made)


def _kept(trials: pl.DataFrame, arms: Mapping[int, str]) -> Literal["epochs", "steps", ""]:
    """What trainings at all sizes have the same number of, by their settings."""
    epochs, steps = "setting.training.epochs", "max_steps"
    own = trials.filter(pl.col("stage") == "confirm", pl.col("arm").is_in([*arms.values()]))
    if epochs not in own.columns or own[epochs].null_count() or own[steps].null_count() or not own.height:
        return ""
    if own[epochs].n_unique() == 1:
        return "epochs"
    # Rounded up to whole epochs, equal steps differ by less than the steps of an epoch.
    least = own.select((pl.col(steps) * (1 - 1 / pl.col(epochs))).max()).item()
    return "steps" if least < own[steps].min() else ""


def _curve(
    name: str,
    arms: dict[int, str],
    curves: Mapping[str, Mapping[int, str]],
    errors: pl.DataFrame,
    study: StudyInfo,
    trials: pl.DataFrame,
) -> SizeCurve | None:
    """One curve with its difference from its baseline; None if no place is complete at all sizes."""
    own = _logs(errors, arms)
    if not own.height:
        return None
    sampling, sizes = study.sampling, list(arms)
    logs = own.select(map(str, sizes)).to_numpy()
    curve = SizeCurve(
        name=name,
        arms=arms,
        trials=own.height,
        errors={
            size: sampling.estimate(own, of_size, arm).transformed(exp)
            for (size, arm), of_size in zip(arms.items(), logs.T, strict=True)
        },
        level=sampling.estimate(own, logs.mean(axis=1), *arms.values()).transformed(exp),
        exponent=_exponent(own, sizes, sampling, [*arms.values()]),
        curvature=_curvature(own, sizes, sampling, [*arms.values()]),
        kept=_kept(trials, arms),
    )
    base = study.baseline_of(next(iter(arms.values())))
    other = None if base is None else _name(study, base)
    if other is None or other == name or other not in curves:
        return curve
    common = [size for size in sizes if size in curves[other]]
    if len(common) < 2:
        return replace(curve, baseline=other)
    theirs = {size: curves[other][size] for size in common}
    ours = {size: arms[size] for size in common}
    # Both at once: a pair counts where all sizes of both curves are complete.
    both = _logs(errors, ours).join(_logs(errors, theirs), on=_PLACE, suffix="_baseline").sort(_PLACE)
    if not both.height:
        return replace(curve, baseline=other)
    ratios = both.select(*_PLACE, *((pl.col(f"{n}") - pl.col(f"{n}_baseline")).alias(f"{n}") for n in common))
    difference = _exponent(ratios, common, sampling, [*ours.values(), *theirs.values()])
    return replace(curve, baseline=other, pairs=both.height, difference=difference)


def _logs(errors: pl.DataFrame, arms: Mapping[int, str]) -> pl.DataFrame:
    """block, replicate and the log error at each size, in columns named by it; complete places only, sorted."""
    sizes = {arm: str(size) for size, arm in arms.items()}
    named = errors.filter(pl.col("arm").is_in(list(sizes))).select(
        *_PLACE, size=pl.col("arm").replace_strict(sizes, return_dtype=pl.String), log=pl.col("error").log()
    )
    if named["size"].n_unique() < len(sizes):
        return named.clear()
    return named.pivot("size", index=_PLACE, values="log").drop_nulls().sort(_PLACE)


def _exponent(logs: pl.DataFrame, sizes: Sequence[int], sampling: Sampling, arms: Sequence[str]) -> Estimate:
    """Minus the slope of the logarithms against log N, over the units."""
    return sampling.estimate(logs, -_coefficient(logs, sizes, 1), *arms)


def _curvature(logs: pl.DataFrame, sizes: Sequence[int], sampling: Sampling, arms: Sequence[str]) -> Estimate | None:
    if len(sizes) < 3:
        return None
    return sampling.estimate(logs, _coefficient(logs, sizes, 2), *arms)


def _coefficient(logs: pl.DataFrame, sizes: Sequence[int], degree: int) -> np.ndarray:
    """The highest coefficient of the least-squares polynomial in log N of each place."""
    x = np.log(np.array(sizes, dtype=float))
    y = logs.select([str(size) for size in sizes]).to_numpy().T
    return np.asarray(np.polynomial.polynomial.polyfit(x - x.mean(), y, degree)[degree])


def _name(study: StudyInfo, arm: str) -> str:
    names = short_names(study.factors)
    others = {path: level for path, level in study.levels.get(arm, {}).items() if path != _SIZE}
    return ", ".join(f"{names.get(path, path)}={level}" for path, level in others.items()) or "all"


def scaling_sentences(curves: Sequence[SizeCurve], holds: str) -> list[str]:
    """How the error falls with the training set: exponents, which differ from the baseline's, and what is no power law.

    Curves without an interval for new data are told without a verdict.

    :param holds: what intervals hold for; see `Sampling.shown`.
    """
    if not curves:
        return []
    if len(curves) > _MOST_SENTENCES:
        sentences = [_counted(curves)]
    else:
        each = [f"{interval(curve.exponent)} for {curve.name}" for curve in curves]
        sizes = sorted({size for curve in curves for size in curve.arms})
        sentences = [
            f"The error changes with the size N of the training set ({listed(sizes)}) as N^−α: α = {listed(each)}"
            f"{f' (intervals {holds})' if curves[0].exponent.shown[0] is not None else ''}.",
            *(
                _difference(curve, curve.difference)
                for curve in curves
                if curve.difference and curve.p_holm is not None
            ),
        ]
    bent = [curve.name for curve in curves if curve.p_bent is not None and curve.p_bent < SIGNIFICANCE]
    if bent:
        sentences.append(f"One exponent does not describe {listed(bent)}: the slope changes with N.")
    return sentences


def _verdict(curve: SizeCurve) -> str:
    """What the difference from the baseline decides, in a word; empty without an interval for new data."""
    if curve.difference is None or curve.p_holm is None:
        return ""
    if curve.p_holm >= SIGNIFICANCE or not curve.difference.excludes_zero:
        return "undecided"
    return "larger" if curve.difference.value > 0 else "smaller"


def _counted(curves: Sequence[SizeCurve]) -> str:
    verdicts = Counter(verdict for curve in curves if (verdict := _verdict(curve)))
    counts = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
    compared = f" Against that of its baseline, the exponent is: {counts}." if counts else ""
    return f"The error against the size N of the training set is described by N^−α in {len(curves)} curves.{compared}"


def _difference(curve: SizeCurve, difference: Estimate) -> str:
    basis = f"{interval(difference, signed=True)}; {count(curve.pairs, 'pair')}"
    match _verdict(curve):
        case "larger":
            return f"With N, the error of {curve.name} falls faster than that of {curve.baseline} (α {basis})."
        case "smaller":
            return f"With N, the error of {curve.name} falls more slowly than that of {curve.baseline} (α {basis})."
        case _:
            return (
                f"Whether the error of {curve.name} or {curve.baseline} falls faster with N is undecided (α {basis})."
            )
