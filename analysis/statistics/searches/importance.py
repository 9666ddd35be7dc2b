"""How important each hyperparameter was in an arm's searches: PED-ANOVA.

Let f be the density of a hyperparameter over the complete proposals of an arm, and f_top that over their best quarter,
both on a grid of at most 50 points. Its importance is proportional to the Pearson divergence Σ f·(f_top/f − 1)²
(Watanabe et al., IJCAI 2023, arXiv 2304.10255), and is given as a share of the arm's sum. Densities are mixtures of
discretised normals with Scott's bandwidth and a prior of one proposal, as in Optuna 4, which `analysis` does not import
but its tests do.

A share is large by chance where proposals are few. So p is the probability of a divergence at least as large if any
other quarter had been the best, from permutations, with Holm's correction over all hyperparameters and arms. It is
approximate for a sampler that learns, because its proposals depend on one another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log, log2
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from tesseral.analysis.statistics.comparisons.paired import holm
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import distinct_proposals
from tesseral.study.design.parameter import KEYS, Parameter, read_parameter

_TOP = 0.25
_FEWEST = 12
"""Fewest complete proposals of an arm: three in the best quarter."""
_PERMUTATIONS = 199
_GRID = 50
_TINY = 1e-12  # keeps the ratio of densities finite


@dataclass(frozen=True)
class Importance:
    """The importance of one hyperparameter in the searches of one arm."""

    arm: str
    path: str
    """Dotted path of the setting."""
    proposals: int
    """Complete proposals that it is computed from."""
    share: float
    """Of the sum over the hyperparameters of the arm, percent."""
    p: float
    """Of a divergence at least as large by chance."""
    p_holm: float = 1.0
    """`p` after Holm's correction over all hyperparameters and arms of the study."""


def importances(tables: StudyTables, draw: np.random.Generator) -> tuple[Importance, ...]:
    """The importance of every hyperparameter that has no condition and plain values, in the study's order of arms.

    :param tables: of a study whose `[search]` has a `space`; others have none.
    :param draw: of the permutations.
    :returns: none of arms with fewer than twelve complete proposals.
    """
    study = tables.study
    if study.search is None or not study.objectives:
        return ()
    space = [each for each in _parameters(study.search.space) if f"setting.{each.path}" in tables.trials.columns]
    made = distinct_proposals(tables.trials, tables.search, study.objectives[0]).drop_nulls("value")
    settings = tables.trials.filter(pl.col("stage") == "search").select(
        "arm", "trial", *(f"setting.{each.path}" for each in space)
    )
    found: list[Importance] = []
    for arm in study.arms:
        own = made.filter(pl.col("arm") == arm).join(settings.unique(["arm", "trial"]), on=["arm", "trial"])
        own = own.sort("repeat", "number")
        if own.height >= _FEWEST:
            found += _of_arm(arm, own, space, draw)
    corrected = holm([each.p for each in found])
    return tuple(replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True))


def _parameters(tree: Mapping[str, Any], prefix: str = "") -> Iterator[Parameter]:
    """The hyperparameters of a search space, written flat or nested, without conditions and with plain choices."""
    for key, given in tree.items():
        path = f"{prefix}{key}"
        if isinstance(given, dict) and not given.keys() <= set(KEYS):
            yield from _parameters(given, f"{path}.")
            continue
        parameter = read_parameter(f"search.space.{path}", path, given)
        if parameter.when is None and not any(isinstance(choice, dict | list) for choice in parameter.choices):
            yield parameter


def _of_arm(arm: str, rows: pl.DataFrame, space: Sequence[Parameter], draw: np.random.Generator) -> list[Importance]:
    errors = rows["value"].to_numpy()
    top = errors <= np.sort(errors)[ceil(_TOP * errors.size) - 1]
    others = [draw.permutation(top) for _ in range(_PERMUTATIONS)]
    measured = []
    for parameter in space:
        values = rows[f"setting.{parameter.path}"].to_list()
        if None in values or (parameter.choices and not set(values) <= set(parameter.choices)):
            continue
        places, size = grid_places(parameter, values)
        if size > 1:
            own, *chance = _divergences(places, [top, *others], size, categorical=bool(parameter.choices))
            # Equal up to rounding counts as at least as large.
            p = (1 + np.sum(np.array(chance) >= own * (1 - 1e-9))) / (1 + _PERMUTATIONS)
            measured.append((parameter.path, float(own), float(p)))
    total = sum(own for _, own, _ in measured)
    return [Importance(arm, path, rows.height, 100 * own / total if total else 0.0, p) for path, own, p in measured]


def grid_places(parameter: Parameter, values: Sequence[object]) -> tuple[np.ndarray, int]:
    """The place of each value on the parameter's grid, and the number of its points.

    :param parameter: a range, or choices.
    :param values: of the setting, among those that it can take.
    """
    if parameter.choices:
        return np.array([parameter.choices.index(value) for value in values]), len(parameter.choices)
    low, high = float(parameter.low or 0.0), float(parameter.high or 0.0)
    size = min(parameter.count or _GRID, _GRID)
    if parameter.log and parameter.kind == "int":
        size = min(ceil(log2(high - low + 1)) + 1, _GRID)
    if size < 2 or low == high:
        return np.zeros(len(values), dtype=int), 1
    numbers = np.array(values, dtype=float)
    if parameter.log:
        numbers, low, high = np.log(numbers), log(low), log(high)
    places = np.ceil((numbers - low) / ((high - low) / (size - 1)) - 0.5).astype(int)
    return np.clip(places, 0, size - 1), size


def divergence(places: np.ndarray, top: np.ndarray, size: int, *, categorical: bool) -> float:
    """Pearson divergence of the density of the best proposals from that of all.

    :param places: of all proposals on the grid.
    :param top: whether each proposal is among the best.
    :param size: points of the grid.
    :param categorical: whether the grid has no order.
    """
    return float(_divergences(places, [top], size, categorical=categorical)[0])


def _divergences(places: np.ndarray, tops: Sequence[np.ndarray], size: int, *, categorical: bool) -> np.ndarray:
    """`divergence` for each choice of the best proposals."""
    density = _categorical if categorical else _ordered
    of_all = density(np.bincount(places, minlength=size)) + _TINY
    of_tops = np.stack([density(np.bincount(places[top], minlength=size)) for top in tops]) + _TINY
    return np.asarray((of_tops / of_all - 1) ** 2 @ of_all)


def _ordered(counts: np.ndarray) -> np.ndarray:
    """A mixture of normals at the observed points, cut to the grid, with a wide one for the prior."""
    points, weights = np.flatnonzero(counts), counts[counts > 0]
    total, reached = weights.sum(), np.cumsum(weights)
    mean = points @ weights / total
    deviation = np.sqrt((points - mean) ** 2 @ weights / max(1, total - 1))
    first = np.searchsorted(reached, total // 4, side="left")
    third = np.searchsorted(reached, total * 3 // 4, side="right")
    spread = points[min(points.size - 1, third)] - points[first]
    width = max(1.059 * min(spread / 1.34, deviation) * total**-0.2, 0.5 / 1.64)
    centres = np.append(points, (counts.size - 1) / 2)[:, None]
    widths = np.append(np.full(points.size, width), counts.size)[:, None]
    grid, last = np.arange(counts.size), counts.size - 1
    mass = ndtr((grid + 0.5 - centres) / widths) - ndtr((grid - 0.5 - centres) / widths)
    mass /= ndtr((last + 0.5 - centres) / widths) - ndtr((-0.5 - centres) / widths)
    return np.asarray(np.append(weights, 1.0) @ mass / (total + 1))


def _categorical(counts: np.ndarray) -> np.ndarray:
    """Frequencies of the choices, each with a share of the prior."""
    seen = np.flatnonzero(counts)
    kernels = np.full((seen.size + 1, counts.size), 1 / (seen.size + 1))
    kernels[np.arange(seen.size), seen] += 1
    kernels /= kernels.sum(axis=1, keepdims=True)
    return np.asarray(np.append(counts[seen], 1.0) @ kernels / (counts.sum() + 1))
