"""The arms of a group that cannot be told from its best one.

The arm of the lowest observed error is not thereby the best: among 40 equal arms one is always the lowest. An arm is
*told from the best* if its error is significantly higher than that of some other arm of its group. All other arms form
the set that holds the best one: with at least 95 % confidence no arm leaves it wrongly. The interquartile mean of
paired differences is not the difference of interquartile means, so with it the lowest arm may itself be told.

Arms are compared over the blocks and replicates that all of them completed, so that none has easier splits. Each pair
of arms has its own t test of the paired logarithms (`paired`), because arms differ in their spread, with Holm's
correction over all pairs of all groups. This is the pairwise form of multiple comparisons with the best: one spread for
all arms, as in Hsu's, is not assumed.

Simulated with six blocks, normal logarithms and spreads of arms that differ threefold (`test_best.py`): any arm is told
from the best in at most 5 % of studies of 2, 4 or 40 equal arms.

Sources: Hsu, Ann. Stat. 12, 1136 (1984), and Multiple Comparisons (1996); Holm, Scand. J. Stat. 6, 65 (1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.paired import ArmError, arm_error, holm, trial_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import SIGNIFICANCE, aggregated, t_estimate
from tesseral.analysis.terms.sampling import Sampling

_PLACE = ["block", "replicate"]


@dataclass(frozen=True)
class Best:
    """The lowest observed error of a group, and the arms that cannot be told from the best."""

    arms: tuple[str, ...]
    """Arms with a complete trial, which are compared, by their observed error."""
    error: ArmError
    """Of the first of `arms`, over the blocks and replicates that all of them completed."""
    alike: tuple[str, ...] | None
    """The other arms that cannot be told from the best, for new data; None without an interval."""
    told: bool = False
    """Whether the first of `arms` is itself told from the best."""


def best(tables: StudyTables) -> tuple[Best, ...]:
    """The best arms of each group in which two or more have trials of the same blocks and replicates.

    :raises TesseralError: if the study's metric is not recorded.
    """
    study = tables.study
    errors = trial_errors(tables.trials, study.metric)
    members = study.groups.values()
    groups = [part for arms in members if (part := common_errors(errors, arms, study.sampling)) is not None]
    p_values = [_p_values(arms, rows, study.sampling) for arms, rows in groups]
    adjusted = iter(holm([p for of_group in p_values for p in of_group.values()]))
    made = []
    for (arms, rows), of_group in zip(groups, p_values, strict=True):
        worse = {higher for higher, _ in of_group if next(adjusted) < SIGNIFICANCE}
        alike = tuple(arm for arm in arms[1:] if arm not in worse) if of_group else None
        own = rows.filter(pl.col("arm") == arms[0])
        made.append(Best(arms, arm_error(arms[0], own, study.sampling), alike, arms[0] in worse))
    return tuple(made)


def common_errors(
    errors: pl.DataFrame, arms: Sequence[str], sampling: Sampling
) -> tuple[tuple[str, ...], pl.DataFrame] | None:
    """The measured arms of a group by their error, and their errors where all of them have one.

    :param errors: from `paired.trial_errors`.
    :param arms: of a group.
    :param sampling: of the study; its aggregate over units is the error of an arm.
    :returns: arms, and trial, arm, block, replicate, error and value (its logarithm; the error itself if any is not
        positive), sorted; None with fewer than two measured arms, or no block and replicate that all of them completed.
    """
    own = errors.filter(pl.col("arm").is_in(list(arms)))
    measured = own["arm"].n_unique()
    shared = own.filter(pl.len().over(_PLACE) == measured).sort("arm", *_PLACE)
    if measured < 2 or not shared.height:
        return None
    shared = shared.with_columns(value=pl.col("error").log() if (shared["error"] > 0).all() else pl.col("error"))
    observed = {arm: float(aggregated(units, sampling.aggregate)) for arm, units in _units(shared, sampling).items()}
    return tuple(sorted(observed, key=lambda arm: (observed[arm], arm))), shared


def _units(rows: pl.DataFrame, sampling: Sampling) -> dict[str, np.ndarray]:
    """Arm → the units of its values."""
    parts = rows.partition_by("arm", as_dict=True)
    return {arm: sampling.units(part, part["value"].to_numpy()) for (arm,), part in parts.items()}


def _p_values(arms: Sequence[str], rows: pl.DataFrame, sampling: Sampling) -> dict[tuple[str, str], float]:
    """Arm of the higher error and of the lower one → p of equal errors; empty without an interval for new data.

    :param arms: of a group.
    :param rows: from `common_errors`.
    """
    if not sampling.for_new_data:
        return {}
    units = _units(rows, sampling)
    places = rows.filter(pl.col("arm") == arms[0])  # those of every arm
    p_values = {}
    for one, other in combinations(arms, 2):
        change = t_estimate(units[other] - units[one], sampling.aggregate, sampling.widening(places, one, other))
        if change.p is not None:
            p_values[(other, one) if change.value > 0 else (one, other)] = change.p
    return p_values
