"""How important each hyperparameter was in an arm's searches: PED-ANOVA.

Let f be the density of a hyperparameter over the complete proposals of an arm, and f_top that over the best quarter of
each of its searches (rounded up), both on a grid of at most 50 points. Errors are ranked within a search, because
searches have splits of their own, and their errors differ by that alone. The importance is proportional to the Pearson
divergence Σ f·(f_top/f − 1)² (Watanabe et al., IJCAI 2023, arXiv 2304.10255), and is given as a share of the arm's sum.
Densities are mixtures of discretised normals with Scott's bandwidth and a prior of one proposal, as in Optuna 4, which
`analysis` does not import but its tests do.

A share is large by chance where proposals are few. So p is the probability of a divergence at least as large if any
other quarter of each search had been the best, from permutations within searches, with Holm's correction over all
hyperparameters and arms. There are 100 permutations for each of these, so that the correction leaves p as small as
0.01. It is approximate for a sampler that learns, because its proposals depend on one another.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log, log2
from typing import Any

import numpy as np
import polars as pl
from scipy.signal import fftconvolve
from scipy.special import ndtr

from tesseral.analysis.statistics.comparisons.paired import holm
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import distinct_proposals
from tesseral.study.design.parameter import KEYS, Parameter, read_parameter

_TOP = 0.25
_FEWEST = 12
"""Fewest complete proposals of an arm: three in the best quarter."""
_PERMUTATIONS = 100
"""For each hyperparameter of each arm."""
_AT_ONCE = 2000
"""Permutations whose densities are computed together."""
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
    measured = []
    for arm in study.arms:
        own = made.filter(pl.col("arm") == arm).join(settings.unique(["arm", "trial"]), on=["arm", "trial"])
        if own.height >= _FEWEST:
            own = own.sort("repeat", "number")
            measured.append((arm, own["repeat"].to_numpy(), best_of_each(own), list(_grids(own, space))))
    permutations = _PERMUTATIONS * sum(len(grids) for *_, grids in measured)
    found: list[Importance] = []
    for arm, searches, top, grids in measured:
        sizes, p = _tested(grids, top, searches, permutations, draw)
        total = sum(sizes)
        found += [
            Importance(arm, grid.path, top.size, 100 * size / total if total else 0.0, chance)
            for grid, size, chance in zip(grids, sizes, p, strict=True)
        ]
    corrected = holm([each.p for each in found])
    return tuple(replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True))


def best_of_each(proposals: pl.DataFrame) -> np.ndarray:
    """Whether each complete proposal is in the best quarter (rounded up) of its own search.

    :param proposals: with the columns `repeat`, the search, and `value`, the error.
    """
    last = (pl.len() * _TOP).ceil().cast(pl.Int64)
    return proposals.select((pl.col("value").rank("min") <= last).over("repeat")).to_series().to_numpy()


@dataclass(frozen=True)
class _Grid:
    """Proposals of one arm on the grid of one hyperparameter."""

    path: str
    places: np.ndarray
    size: int
    categorical: bool


def _grids(rows: pl.DataFrame, space: Iterable[Parameter]) -> Iterator[_Grid]:
    """The hyperparameters that each of an arm's proposals has, and that can vary."""
    for parameter in space:
        values = rows[f"setting.{parameter.path}"].to_list()
        if None in values or (parameter.choices and not set(values) <= set(parameter.choices)):
            continue
        places, size = grid_places(parameter, values)
        if size > 1:
            yield _Grid(parameter.path, places, size, bool(parameter.choices))


def _tested(
    grids: Sequence[_Grid], top: np.ndarray, searches: np.ndarray, permutations: int, draw: np.random.Generator
) -> tuple[list[float], list[float]]:
    """The divergence of each hyperparameter of an arm, and its p-value.

    :param searches: the search of each proposal, ascending.
    """
    own = [divergence(grid.places, top, grid.size, categorical=grid.categorical) for grid in grids]
    larger = np.zeros(len(grids), dtype=int)
    for start in range(0, permutations, _AT_ONCE):
        others = _permuted(top, searches, min(_AT_ONCE, permutations - start), draw)
        for i, grid in enumerate(grids):
            chance = _divergences(grid.places, others, grid.size, categorical=grid.categorical)
            # Equal up to rounding counts as at least as large.
            larger[i] += np.sum(chance >= own[i] * (1 - 1e-9))
    return own, [float(p) for p in (1 + larger) / (1 + permutations)]


def _permuted(top: np.ndarray, searches: np.ndarray, number: int, draw: np.random.Generator) -> np.ndarray:
    """The best proposals, exchanged at random within each search; of shape (number, proposals)."""
    of_each = np.split(top, np.flatnonzero(np.diff(searches)) + 1)
    return np.hstack([draw.permuted(np.tile(own, (number, 1)), axis=1) for own in of_each])


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
    return float(_divergences(places, top[None], size, categorical=categorical)[0])


def _divergences(places: np.ndarray, tops: np.ndarray, size: int, *, categorical: bool) -> np.ndarray:
    """`divergence` for each row of `tops`, a choice of the best proposals."""
    density = _categorical if categorical else _ordered
    on_grid = np.eye(size)[places]
    of_all = density(on_grid.sum(axis=0, keepdims=True)) + _TINY
    of_tops = density(tops @ on_grid) + _TINY
    return np.asarray((of_tops / of_all - 1) ** 2 @ of_all[0])


def _ordered(counts: np.ndarray) -> np.ndarray:
    """Mixtures of normals at the observed points, cut to the grid, with a wide one for the prior.

    :param counts: proposals at each point of the grid, a row for each density.
    """
    size = counts.shape[1]
    grid, total, reached = np.arange(size), counts.sum(axis=1), np.cumsum(counts, axis=1)
    mean = counts @ grid / total
    deviation = np.sqrt(np.sum(counts * (grid - mean[:, None]) ** 2, axis=1) / np.maximum(1, total - 1))
    first = np.argmax(reached >= np.maximum(1, total // 4)[:, None], axis=1)
    third = np.argmax(reached > (total * 3 // 4)[:, None], axis=1)
    width = np.maximum(1.059 * np.minimum((third - first) / 1.34, deviation) * total**-0.2, 0.5 / 1.64)
    # A normal's share of a point depends on their distance alone, so the mixture is a convolution.
    below = ndtr((np.arange(2 * size) - size + 0.5) / width[:, None])
    within = (below[:, size:] - below[:, :size])[:, ::-1]
    mass = fftconvolve(counts / within, np.diff(below, axis=1), mode="valid", axes=1)
    prior = np.diff(ndtr((np.arange(size + 1) - size / 2) / size))
    return np.asarray((mass + prior / prior.sum()) / (total[:, None] + 1))


def _categorical(counts: np.ndarray) -> np.ndarray:
    """Frequencies of the choices, each with a share of the prior.

    :param counts: proposals with each choice, a row for each density.
    """
    size, total = counts.shape[1], counts.sum(axis=1, keepdims=True)
    each = 1 / (np.count_nonzero(counts, axis=1)[:, None] + 1)
    return np.asarray(((total * each + counts) / (size * each + 1) + 1 / size) / (total + 1))
