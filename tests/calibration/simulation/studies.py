"""Studies of hidden features with known errors, as tables that the analysis reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tesseral.analysis.tables.load import StudyTables, load
from tests.calibration.simulation.designs import Design
from tests.support.synthetic_study import info, table, trial_row

ERROR = 30.0
"""Relative error of the baseline at every order, percent of the spread."""
BLOCKS = 6


def order_errors(rng: np.random.Generator, ratios: np.ndarray, studies: int) -> np.ndarray:
    """Draw log-normal relative errors by order of the output, in independent blocks.

    :param ratios: true relative error over `ERROR`, by arm (rows) and order l (columns).
    :returns: logarithms of relative errors in percent, of shape (studies, arms, blocks, orders).
    """
    arms, orders = ratios.shape
    shared = 0.1 * rng.standard_normal((studies, 1, BLOCKS, orders))
    own = 0.05 * rng.standard_normal((studies, arms, BLOCKS, 1))
    starts = 0.03 * rng.standard_normal((studies, arms, BLOCKS, orders))
    return np.log(ERROR * ratios)[:, None] + shared + own + starts


def order_study(logs: np.ndarray) -> StudyTables:
    """A density study, of which ε is the geometric mean of the relative errors by order.

    :param logs: logarithms of relative errors in percent, of shape (arms, blocks, orders).
    """
    rows = [
        trial_row(arm, block, 0, unreachable=None)
        | {f"metric.test.relative_error.l{order}": float(np.exp(error)) for order, error in enumerate(by_order)}
        | {"metric.test.epsilon": float(np.exp(by_order.mean()))}
        for arm, by_block in enumerate(logs)
        for block, by_order in enumerate(by_block)
    ]
    return _tables(rows, *logs.shape[:2])


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


def factor_study(logs: np.ndarray, design: Design) -> StudyTables:
    """A study of several factors.

    :param logs: logarithms of errors, of shape (arms, blocks).
    """
    names = ["-".join(map(str, arm)) for arm in design.arms]
    paths = ("network.layers", "training.epochs", "data.train")[: len(design.arms[0])]
    levels = {name: dict(zip(paths, map(str, arm), strict=True)) for name, arm in zip(names, design.arms, strict=True)}
    rows = [
        trial_row(arm, block, 0) | {"arm": names[arm], "metric.test.epsilon": float(np.exp(value))}
        for arm, by_block in enumerate(logs)
        for block, value in enumerate(by_block)
    ]
    factors = {path: tuple(dict.fromkeys(of[path] for of in levels.values())) for path in paths}
    study = info(
        arms=tuple(names),
        baseline=names[0],
        levels=levels,
        factors=factors,
        design=design.kind,
        blocks=logs.shape[1],
        replicates=1,
    )
    return load(table(rows), [], [], study)


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
