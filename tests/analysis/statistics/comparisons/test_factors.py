"""Effects against least squares, hand calculations and the aliases of the design."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.factors import effects
from tesseral.analysis.statistics.comparisons.paired import holm
from tesseral.analysis.tables.load import load
from tesseral.study.design.fractional import fraction
from tests.support.synthetic_study import info, table, trial_row

PATHS = ("network.layers", "training.epochs", "data.train")


def study_of(combinations, effect, design="factorial", seed=0, blocks=6, paths=PATHS):
    """Trials whose log errors are `effect` of the levels, a block's effect and noise."""
    draw = np.random.default_rng(seed)
    shared = 0.3 * draw.standard_normal(blocks)
    arms = {f"arm {k}": combination for k, combination in enumerate(combinations)}
    rows = [
        trial_row(0, block, 0)
        | {
            "arm": arm,
            "trial": f"{arm} {block}",
            "metric.test.epsilon": float(np.exp(effect(*of) + shared[block] + 0.02 * draw.standard_normal())),
        }
        for arm, of in arms.items()
        for block in range(blocks)
    ]
    levels = {arm: dict(zip(paths, map(str, of), strict=True)) for arm, of in arms.items()}
    factors = {path: tuple(dict.fromkeys(of[path] for of in levels.values())) for path in paths}
    given = {"arms": tuple(arms), "baseline": "arm 0", "levels": levels, "factors": factors}
    tables = load(table(rows), [], [], info(**given, blocks=blocks, replicates=1, design=design))
    errors = np.array([row["metric.test.epsilon"] for row in rows]).reshape(len(arms), blocks)
    return tables, np.log(errors)


def test_effects_of_a_factorial_are_those_of_averages_in_pairs():
    combinations = list(product((2, 3, 4), (10, 20)))
    tables, logs = study_of(combinations, lambda a, b: -0.2 * (a - 2) + 0.1 * (b == 20) * (a == 4), paths=PATHS[:2])
    found = {effect.name: effect for effect in effects(tables)}
    assert list(found) == [
        "layers 3 against 2",
        "layers 4 against 2",
        "epochs 20 against 10",
        "layers 3 against 2 × epochs 20 against 10",
        "layers 4 against 2 × epochs 20 against 10",
    ]
    grid = logs.reshape(3, 2, -1)
    main = (grid[2] - grid[0]).mean(axis=0)
    known = stats.ttest_1samp(main, 0)
    effect = found["layers 4 against 2"]
    assert effect.change.value == pytest.approx(100 * np.expm1(main.mean()))
    assert effect.change.p == pytest.approx(known.pvalue)
    assert (effect.order, effect.arms, effect.aliases) == (1, 4, ())
    crossed = grid[2, 1] - grid[0, 1] - grid[2, 0] + grid[0, 0]
    effect = found["layers 4 against 2 × epochs 20 against 10"]
    assert effect.change.value == pytest.approx(100 * np.expm1(crossed.mean()))
    assert (effect.order, effect.arms) == (2, 4)
    assert [e.p_holm for e in found.values()] == holm([e.change.p for e in found.values()])


def test_one_factor_out_has_main_effects_alone():
    combinations = [(2, 10, 50), (3, 10, 50), (2, 20, 50), (2, 10, 100)]
    tables, logs = study_of(combinations, lambda a, b, c: -0.2 * (a == 3), design="one-factor-out")
    found = effects(tables)
    assert [effect.name for effect in found] == ["layers 3 against 2", "epochs 20 against 10", "train 100 against 50"]
    assert found[0].change.value == pytest.approx(100 * np.expm1((logs[1] - logs[0]).mean()))


def test_a_fraction_estimates_sums_of_aliases():
    """2^(3−1): each main effect is aliased with the interaction of the two others."""
    design = fraction(3, 4)
    tables, logs = study_of(design.levels, lambda a, b, c: 0.1 * a + 0.05 * b * c, design="fractional")
    signs = np.array(design.levels)
    found = {effect.name: effect for effect in effects(tables)}
    start = signs[0]
    named = {path: f"{path.split('.')[-1]} {-s} against {s}" for path, s in zip(PATHS, start, strict=True)}
    effect = found[named["network.layers"]]
    assert effect.aliases == (f"{named['training.epochs']} × {named['data.train']}",)
    upper = signs[:, 0] == -start[0]
    assert effect.change.value == pytest.approx(100 * np.expm1((logs[upper].mean(0) - logs[~upper].mean(0)).mean()))
    # Coefficients of ±1 are half of a difference: 2·(0.1 + 0.05), up or down.
    assert abs(np.log1p(effect.change.value / 100)) == pytest.approx(0.3, abs=0.05)
    assert len(found) == 6


def test_one_factor_has_no_table():
    tables, _ = study_of([(2,), (3,)], lambda a: 0.1 * a, paths=PATHS[:1])
    assert effects(tables) == ()
