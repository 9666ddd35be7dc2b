"""Main effects and two-factor interactions, averaged over the levels of the other factors, in pairs.

For the logarithm y of an error, the main effect of a level of factor A against the baseline's level is the mean of
y(level) − y(baseline's level) over all combinations of the other factors that have both. The interaction of A and B is
the mean of y(a, b) − y(a₀, b) − y(a, b₀) + y(a₀, b₀) over those that have all four: how the ratio that A brings differs
between b and b₀. In a fractional design no combination has both; there the effect is the mean of y over the arms of one
sign less that over the others, twice this for an interaction. Effects with equal signs in all arms are *aliases*: what
is estimated is their sum, in which an interaction counts half. Each effect is computed within a block and replicate
that all of its arms completed, and tested as changes are (`paired`), with Holm's correction over all effects of the
study.

Source: Box, Hunter & Hunter, Statistics for Experimenters (2005), chapters 5 and 6.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import polars as pl

from tesseral.analysis.statistics.comparisons.paired import corrected, relative_change, trial_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import Estimate
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names

_PLACE = ["block", "replicate"]


@dataclass(frozen=True)
class Effect:
    """A main effect or a two-factor interaction in one group."""

    name: str
    """Such as `lmax 1 against 0`, or `lmax 1 against 0 × layers 4 against 3`."""
    where: str
    """The group; empty if there is one only."""
    order: int
    """1: main effect, 2: two-factor interaction."""
    arms: int
    """Number of arms that it is averaged over."""
    aliases: tuple[str, ...]
    """Effects that cannot be separated from it."""
    change: Estimate
    """100·(exp(effect) − 1), percent: of an interaction, the ratio of both changes, less one."""
    p_holm: float | None = None
    """`change.p` after Holm's correction over all effects of the study."""
    p_holm_here: float | None = None
    """The same for these data."""


def effects(tables: StudyTables) -> tuple[Effect, ...]:
    """The effects of every group in which two or more factors vary; main effects first.

    :raises TesseralError: if the study's metric is not recorded.
    """
    study, made = tables.study, []
    errors = trial_errors(tables.trials, study.metric).filter(pl.col("error") > 0)
    for group, arms in study.groups.items():
        own = errors.filter(pl.col("arm").is_in(list(arms))).with_columns(pl.col("error").log())
        wide = own.pivot("arm", index=_PLACE, values="error").sort(_PLACE)
        found = list(_contrasts(study, [arm for arm in arms if arm in wide.columns]))
        for order, name, weights in found:
            rows = wide.select(*_PLACE, *weights).drop_nulls()
            if not rows.height:
                continue
            values = rows.select(list(weights)).to_numpy() @ np.array(list(weights.values()))
            change = relative_change(rows, values, study.sampling, *weights)
            aliases = tuple(other for _, other, signs in found if other != name and _alias(weights, signs))
            where = group.name if len(study.groups) > 1 else ""
            made.append(Effect(name, where, order, len(weights), aliases, change))
    new = corrected([effect.change.p for effect in made])
    here = corrected([effect.change.here.p if effect.change.here else None for effect in made])
    return tuple(replace(e, p_holm=p, p_holm_here=q) for e, p, q in zip(made, new, here, strict=True))


def _alias(weights: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether two effects weigh the same arms with the same signs, or with opposite ones."""
    if set(weights) != set(others):
        return False
    signs = {weights[arm] * others[arm] > 0 for arm in weights}
    return len(signs) == 1


def _contrasts(study: StudyInfo, arms: Sequence[str]) -> Iterator[tuple[int, str, dict[str, float]]]:
    """Order, name and arm → weight of each effect of a group that its arms allow."""
    paths = [
        path
        for path in study.factors
        if path not in FACTORS and len({study.levels.get(arm, {}).get(path) for arm in arms}) > 1
    ]
    if len(paths) < 2:
        return
    levels = {arm: tuple(study.levels.get(arm, {}).get(path) for path in paths) for arm in arms}
    names, fractional = short_names(study.factors), study.design == "fractional"
    start = levels.get(study.baseline_of(arms[0]) or arms[0], levels[arms[0]])
    others = [sorted({of[i] for of in levels.values()} - {start[i]}, key=str) for i in range(len(paths))]

    def named(i: int, level: str | None) -> str:
        return f"{names[paths[i]]} {level} against {start[i]}"

    for order in (1, 2):
        for chosen in combinations(range(len(paths)), order):
            for upper in product(*(others[i] for i in chosen)):
                targets = dict(zip(chosen, upper, strict=True))
                weigh = _over_fraction if fractional else _over_contexts
                weights = weigh(levels, start, targets)
                if weights:
                    yield order, " × ".join(named(i, level) for i, level in targets.items()), weights


Levels = tuple[str | None, ...]


def _over_contexts(levels: Mapping[str, Levels], start: Levels, targets: Mapping[int, str | None]) -> dict[str, float]:
    """Arm → weight, over the combinations of the other factors that have all levels of the effect."""
    contexts: dict[Levels, dict[Levels, str]] = {}
    for arm, of in levels.items():
        corner = tuple(of[i] for i in targets)
        if all(level in (start[i], targets[i]) for i, level in zip(targets, corner, strict=True)):
            context = tuple(level for i, level in enumerate(of) if i not in targets)
            contexts.setdefault(context, {})[corner] = arm
    whole = [corners for corners in contexts.values() if len(corners) == 2 ** len(targets)]
    return {arm: _sign(corner, start, targets) / len(whole) for corners in whole for corner, arm in corners.items()}


def _over_fraction(levels: Mapping[str, Levels], start: Levels, targets: Mapping[int, str | None]) -> dict[str, float]:
    """Arm → weight in a two-level fraction, over all arms; empty if all have one sign."""
    signs = {arm: _sign(tuple(of[i] for i in targets), start, targets) for arm, of in levels.items()}
    totals = {sign: sum(other == sign for other in signs.values()) for sign in signs.values()}
    return {arm: len(targets) * sign / totals[sign] for arm, sign in signs.items()} if len(totals) == 2 else {}


def _sign(corner: Levels, start: Levels, targets: Mapping[int, str | None]) -> int:
    """The product of −1 for each level that is the baseline's."""
    at_start = sum(level == start[i] for i, level in zip(targets, corner, strict=True))
    return -1 if at_start % 2 else 1
