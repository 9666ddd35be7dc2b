"""Verdicts by step: a partition, against SciPy, and by simulation with stated seeds."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.paired import holm
from tesseral.analysis.statistics.comparisons.steps import decide, steps
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import crossed_rows, info, table, trial_row, trial_rows

ARMS = ("lmax=0", "lmax=1", "lmax=2", "lmax=3")
LEVELS = {arm: {"network.hidden.lmax": str(k)} for k, arm in enumerate(ARMS)}


def study_of(rows, **changes):
    return load(table(rows), [], [], info(**({"levels": LEVELS} | changes)))


@pytest.mark.parametrize(
    ("lower", "higher", "negligible", "dearer", "verdict"),
    [
        (True, False, False, False, "better; not shown to be dearer"),
        (True, False, True, False, "better; not shown to be dearer"),
        (True, False, True, True, "lower by less than δ, and dearer"),
        (False, True, True, True, "no better, and dearer"),
        (False, False, True, True, "no better, and dearer"),
        (True, False, False, True, "earns its cost"),
        (False, False, True, False, "no worse than δ"),
        (False, True, True, False, "no worse than δ"),
        (False, True, False, True, "worse"),
        (False, True, False, False, "worse"),
        (False, False, False, True, "undecided"),
        (False, False, False, False, "undecided"),
    ],
)
def test_every_case_has_one_verdict(lower, higher, negligible, dearer, verdict):
    assert decide(lower=lower, higher=higher, negligible=negligible, dearer=dearer) == verdict


def test_the_table_of_verdicts_is_complete():
    marks = test_every_case_has_one_verdict.pytestmark[0].args[1]
    possible = {case for case in product((True, False), repeat=4) if not (case[0] and case[1])}
    assert {case[:4] for case in marks} == possible
    assert len(marks) == len(possible)


def test_steps_join_neighbours_and_are_corrected_together():
    rows = trial_rows(blocks=6)
    found = steps(study_of(rows, blocks=6))
    assert [(s.factor, s.upper, s.lower, s.where) for s in found] == [
        ("lmax", "1", "0", ""),
        ("lmax", "2", "1", ""),
        ("lmax", "3", "2", ""),
    ]
    assert [s.comparison.p_holm for s in found] == [min(1.0, 3 * s.comparison.change.p) for s in found]
    frame = pl.DataFrame(rows)
    logs = [
        np.log(frame.filter(pl.col("arm") == arm)["metric.test.epsilon"].to_numpy()).reshape(6, 2).mean(axis=1)
        for arm in ARMS
    ]
    for step, upper, lower in zip(found, logs[1:], logs, strict=False):
        known = stats.ttest_rel(upper, lower)
        assert step.comparison.change.p == pytest.approx(known.pvalue, rel=1e-9)
    assert (found[0].verdict, found[0].dearer) == ("earns its cost", True)
    assert found[0].costs["parameters"].value == pytest.approx(163 / 91)
    assert found[0].more is None


def test_levels_are_ordered_as_numbers_or_as_sets():
    """Sets in whatever order: a step goes to each set that holds another one with none between."""
    sets = {"a": "[0,1,2]", "b": "[0,2]", "c": "[0,1,2,3]", "d": "[0]", "e": "[0,3]"}
    path = "network.hidden.orders"
    rows = [row | {"arm": arm} for row in trial_rows(arms=1) for arm in sets]
    levels = {arm: {path: level} for arm, level in sets.items()}
    given = {"arms": tuple(sets), "baseline": "a", "levels": levels, "factors": {path: tuple(sets.values())}}
    assert {(s.upper, s.lower) for s in steps(study_of(rows, **given))} == {
        ("[0,2]", "[0]"),
        ("[0,3]", "[0]"),
        ("[0,1,2]", "[0,2]"),
        ("[0,1,2,3]", "[0,1,2]"),
        ("[0,1,2,3]", "[0,3]"),
    }
    numbers = {"a": "10", "b": "9", "c": "1e-05"}
    levels = {arm: {"training.batch_size": level} for arm, level in numbers.items()}
    factors = {"training.batch_size": tuple(numbers.values())}
    found = steps(study_of(rows, **(given | {"arms": tuple(numbers), "levels": levels, "factors": factors})))
    assert [(s.upper, s.lower) for s in found] == [("9", "1e-05"), ("10", "9")]
    words = {"a": "raw", "b": "equal", "c": "true"}
    levels = {arm: {"loss.name": level} for arm, level in words.items()}
    given |= {"arms": tuple(words), "levels": levels, "factors": {"loss.name": tuple(words.values())}}
    assert steps(study_of(rows, **given)) == ()


def test_steps_are_made_at_equal_levels_of_other_factors(crossed):
    found = steps(crossed)
    assert len(found) == 8  # two steps for each of four targets
    assert {s.where for s in found} == {"energy", "density", "dipole", "quadrupole"}
    assert len(crossed_rows()) == 96


@pytest.mark.parametrize(
    ("shift", "spread", "seconds", "verdict"),
    [
        (-0.3, 0.02, 2.0, "earns its cost"),
        (-0.3, 0.02, 1.0, "better; not shown to be dearer"),
        (0.0, 0.005, 2.0, "no better, and dearer"),
        (0.0, 0.005, 1.0, "no worse than δ"),
        (-0.2, 0.3, 2.0, "undecided"),
        (0.3, 0.02, 2.0, "worse"),
        (0.3, 0.02, 0.5, "worse"),
    ],
)
def test_verdicts_of_known_changes(shift, spread, seconds, verdict):
    signs = np.array([1, -1, 1, -1, 1, -1, 1, -1.0])
    rows = [
        trial_row(arm, block, 0)
        | {"metric.test.epsilon": float(np.exp(arm * (shift + spread * signs[block]))), "seconds": seconds**arm}
        | {"parameters": 91_000}
        for arm in range(2)
        for block in range(8)
    ]
    given = {"arms": ARMS[:2], "blocks": 8}
    (step,) = steps(study_of(rows, **given))
    assert (step.verdict, step.verdict_here) == (verdict, verdict)
    wide = dict.fromkeys(ARMS, 1e4)
    (far,) = steps(study_of(rows, **given, overlaps=wide))
    assert (far.verdict, far.verdict_here, far.more) == ("undecided", verdict, None)
    (near,) = steps(study_of(rows, **given, margin=100.0))
    assert near.verdict in (
        "better; not shown to be dearer",
        "lower by less than δ, and dearer",
        "no better, and dearer",
        "no worse than δ",
    )


def test_too_few_blocks_give_no_verdict():
    assert {s.verdict for s in steps(study_of(trial_rows(blocks=2), blocks=6))} == {"no verdict"}


def test_a_fall_by_less_than_the_margin_that_costs_more_is_told_as_one():
    """−1 % [−1.2, −0.8] with δ = 2 %, in eight blocks: lower, and by less than δ."""
    rows = [
        trial_row(arm, block, 0)
        | {"metric.test.epsilon": float(np.exp(arm * (-0.01 + 0.002 * (-1) ** block))), "seconds": 2.0**arm}
        for arm in range(2)
        for block in range(8)
    ]
    (step,) = steps(study_of(rows, arms=ARMS[:2], blocks=8))
    change = step.comparison.change
    assert (change.low, change.high) == pytest.approx((-1.172, -0.816), abs=2e-3)
    assert step.verdict == "lower by less than δ, and dearer"


def test_equal_arms_are_called_different_in_five_studies_of_a_hundred():
    """800 studies of four arms in six blocks; a claim is any of lower or higher."""
    draw = np.random.default_rng(15)
    blocks, claims, wrong = 6, 0, 0
    for _ in range(800):
        logs = 0.1 * draw.standard_normal((4, blocks)) + 0.3 * draw.standard_normal(blocks)
        p = [stats.ttest_rel(logs[k + 1], logs[k]).pvalue for k in range(3)]
        claims += min(holm(p)) < 0.05
        # A step that is truly worse by δ is called no worse.
        shifted = [stats.ttest_rel(logs[k + 1], logs[k], alternative="less").pvalue for k in range(3)]
        wrong += min(holm(shifted)) < 0.05
    assert claims / 800 < 0.065
    assert wrong / 800 < 0.065


def test_a_step_of_one_of_several_targets_names_it(crossed):
    assert [(step.upper, step.lower, step.where) for step in steps(crossed)][:2] == [
        ("1", "0", "energy"),
        ("2", "1", "energy"),
    ]
