"""Studies of hidden features with known errors, as tables that the analysis reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tesseral.analysis.tables.load import StudyTables, load
from tests.support.synthetic_study import info, table, trial_row

ERROR = 30.0
"""Relative error of the baseline at every order, percent of the spread."""
BLOCKS = 6


def order_study(rng: np.random.Generator, ratios: np.ndarray) -> StudyTables:
    """A density study of one arm a row, with log-normal errors in independent blocks.

    :param ratios: true relative error over `ERROR`, by arm (rows) and order l (columns).
    """
    arms, orders = ratios.shape
    shared = 0.1 * rng.standard_normal((1, BLOCKS, orders)) + 0.05 * rng.standard_normal((arms, BLOCKS, 1))
    noise = np.exp(shared + 0.03 * rng.standard_normal((arms, BLOCKS, orders)))
    rows = [
        trial_row(arm, block, 0, unreachable=None)
        | {f"metric.test.relative_error.l{order}": float(error) for order, error in enumerate(by_order)}
        | {"metric.test.epsilon": float(by_order.mean())}
        for arm, by_block in enumerate(ERROR * ratios[:, None] * noise)
        for block, by_order in enumerate(by_block)
    ]
    return _tables(rows, arms, BLOCKS)


def arm_study(logs: np.ndarray) -> StudyTables:
    """A study of one error a trial.

    :param logs: logarithms of errors, of shape (arms, blocks).
    """
    rows = [
        trial_row(arm, block, 0) | {"metric.test.epsilon": float(np.exp(value))}
        for arm, by_block in enumerate(logs)
        for block, value in enumerate(by_block)
    ]
    return _tables(rows, *logs.shape)


def size_study(logs: np.ndarray, sizes: Sequence[int]) -> StudyTables:
    """A study of hidden features and of the size of the training set.

    :param logs: logarithms of errors, of shape (curves, sizes, blocks).
    """
    rows, levels = [], {}
    for curve, size, block in np.ndindex(*logs.shape):
        arm = f"lmax={curve}, train={sizes[size]}"
        levels[arm] = {"network.hidden.lmax": str(curve), "data.train": str(sizes[size])}
        error = float(np.exp(logs[curve, size, block]))
        changes = {"trial": f"{curve}{size}{block}".ljust(64, "a"), "arm": arm, "metric.test.epsilon": error}
        rows.append(trial_row(curve, block, 0) | changes)
    factors = {"network.hidden.lmax": tuple(map(str, range(len(logs)))), "data.train": tuple(map(str, sizes))}
    study = info(
        arms=tuple(levels),
        baselines={arm: f"lmax=0, {arm.partition(', ')[2]}" for arm in levels},
        levels=levels,
        factors=factors,
        within=("data.train",),
        blocks=logs.shape[2],
        replicates=1,
    )
    return load(table(rows), [], [], study)


def _tables(rows: list[dict[str, Any]], arms: int, blocks: int) -> StudyTables:
    names = tuple(f"lmax={arm}" for arm in range(arms))
    levels = {name: {"network.hidden.lmax": str(arm)} for arm, name in enumerate(names)}
    factors = {"network.hidden.lmax": tuple(map(str, range(arms)))}
    study = info(arms=names, levels=levels, factors=factors, blocks=blocks, replicates=1)
    return load(table(rows), [], [], study)
