"""Exponents of the error against the size of the training set, against SciPy, and the sentences on them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import render
from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.comparisons.paired import holm
from tesseral.analysis.statistics.comparisons.scaling import scaling_sentences, size_curves
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import StudyTables, load
from tests.support.synthetic_study import info, table, trial_row

SIZES = (50, 100, 200, 400)
BLOCKS = 6
NEW = "for new data of the same kind"


def of_errors(errors: dict[str, np.ndarray], **changes) -> StudyTables:
    """A study of hidden features and training sets.

    :param errors: levels of lmax → error of each size and block.
    """
    rows, levels = [], {}
    for lmax, values in errors.items():
        for size, by_block in zip(SIZES, values, strict=True):
            arm = f"lmax={lmax}, train={size}"
            levels[arm] = {"network.hidden.lmax": lmax, "data.train": str(size)}
            for block, error in enumerate(by_block):
                trial = f"{lmax}{size}{block}".ljust(64, "c")
                row = trial_row(int(lmax), block, 0, trial=trial, unreachable=None)
                rows.append(row | {"arm": arm, "metric.test.epsilon": float(error)})
    factors = {"network.hidden.lmax": tuple(errors), "data.train": tuple(map(str, SIZES))}
    arms = tuple(levels)
    first = next(iter(errors))
    given = {
        "baselines": {arm: f"lmax={first}, train={arm.split('=')[-1]}" for arm in arms},
        "within": ("data.train",),
        "blocks": BLOCKS,
        "replicates": 1,
    }
    study = info(arms=arms, baseline=arms[0], factors=factors, levels=levels, **(given | changes))
    return load(table(rows), [], [], study)


def power(draw: np.random.Generator, exponent: float, floor: float = 0.0) -> np.ndarray:
    """Errors of each size and block that fall as N^−α to a floor, with a factor of each block."""
    blocks = 0.1 * draw.standard_normal(BLOCKS)
    noise = 0.03 * draw.standard_normal((len(SIZES), BLOCKS))
    return (np.array(SIZES, dtype=float)[:, None] ** -exponent + floor) * np.exp(blocks + noise)


def slopes(errors: np.ndarray) -> np.ndarray:
    return np.array([-stats.linregress(np.log(SIZES), np.log(column)).slope for column in errors.T])


def test_exponents_are_means_of_the_slopes_of_blocks():
    draw = np.random.default_rng(1)
    errors = {"0": power(draw, 0.3), "1": power(draw, 0.5), "2": power(draw, 0.32)}
    base, steep, flat = size_curves(of_errors(errors))
    assert [curve.name for curve in (base, steep, flat)] == ["lmax=0", "lmax=1", "lmax=2"]
    assert steep.arms == {size: f"lmax=1, train={size}" for size in SIZES}
    assert (base.baseline, steep.baseline, steep.pairs) == (None, "lmax=0", BLOCKS)
    tests = []
    for curve, lmax in ((base, "0"), (steep, "1"), (flat, "2")):
        test = stats.ttest_1samp(slopes(errors[lmax]), 0.0).confidence_interval(0.95)
        expected = [slopes(errors[lmax]).mean(), test.low, test.high]
        assert [curve.exponent.value, curve.exponent.low, curve.exponent.high] == pytest.approx(expected)
        if lmax != "0":
            tests.append(stats.ttest_rel(slopes(errors[lmax]), slopes(errors["0"])))
    # One family: what is said of exponents and what is said of bent curves stand beside one another.
    bends = [stats.ttest_1samp(np.polyfit(np.log(SIZES), np.log(errors[lmax]), 2)[0], 0.0) for lmax in ("0", "1", "2")]
    expected = holm([float(test.pvalue) for test in (*tests, *bends)])
    found = [steep.p_holm, flat.p_holm, *(curve.p_bent for curve in (base, steep, flat))]
    assert found == pytest.approx(expected)
    low, high = tests[0].confidence_interval(0.95)
    assert [steep.difference.low, steep.difference.high] == pytest.approx([low, high])


def test_the_line_is_that_of_the_means_of_the_logarithms():
    errors = power(np.random.default_rng(1), 0.3)
    (curve,) = size_curves(of_errors({"0": errors}))
    means = np.log(errors).mean(axis=1)
    line = stats.linregress(np.log(SIZES), means)
    assert [curve.fitted(size) for size in SIZES] == pytest.approx(
        np.exp(line.intercept + line.slope * np.log(SIZES)), rel=1e-12
    )
    assert [curve.errors[size].value for size in SIZES] == pytest.approx(np.exp(means), rel=1e-12)
    low, high = stats.ttest_1samp(np.log(errors[0]), 0).confidence_interval(0.95)
    assert [curve.errors[50].low, curve.errors[50].high] == pytest.approx(np.exp([low, high]))


def test_intervals_are_for_new_data_at_the_overlap_of_the_smallest_set():
    errors = {"0": power(np.random.default_rng(1), 0.3)}
    overlaps = {f"lmax=0, train={size}": 10 / size for size in SIZES}
    (alone,), (new,) = size_curves(of_errors(errors)), size_curves(of_errors(errors, overlaps=overlaps))
    widths = [curve.exponent.high - curve.exponent.low for curve in (alone, new)]
    assert widths[1] / widths[0] == pytest.approx((1 + BLOCKS * 10 / 50) ** 0.5)


def test_the_exponent_of_a_power_law_is_covered():
    draw, studies = np.random.default_rng(4), 300
    held = 0
    for _ in range(studies):
        (curve,) = size_curves(of_errors({"0": power(draw, 0.4)}))
        held += curve.exponent.low <= 0.4 <= curve.exponent.high
    assert stats.binomtest(held, studies, 0.95).pvalue > 0.01


def test_a_floor_bends_the_curve():
    draw = np.random.default_rng(2)
    straight, bent = size_curves(of_errors({"0": power(draw, 0.4), "1": power(draw, 0.8, floor=0.02)}))
    assert not straight.curvature.excludes_zero
    assert bent.curvature.low > 0
    told = scaling_sentences((straight, bent), NEW)
    assert told[-1] == "One exponent does not describe lmax=1: the slope changes with N."


def test_what_is_decided_is_told():
    draw = np.random.default_rng(1)
    curves = size_curves(of_errors({"0": power(draw, 0.3), "1": power(draw, 0.5), "2": power(draw, 0.3)}))
    first, faster, alike = scaling_sentences(curves, NEW)
    assert first.startswith(
        "The error changes with the size N of the training set (50, 100, 200 and 400) as N^−α: α = 0."
    )
    assert faster.startswith("With N, the error of lmax=1 falls faster than that of lmax=0 (α +0.")
    assert faster.endswith("; 6 pairs).")
    assert alike.startswith("Whether the error of lmax=2 or lmax=0 falls faster with N is undecided (α ")
    slower = replace(curves[1], difference=curves[1].difference.negative())
    assert "falls more slowly than" in scaling_sentences([slower], NEW)[1]
    assert scaling_sentences([*curves, *curves[1:]], NEW) == [
        "The error against the size N of the training set is described by N^−α in 5 curves. Against that of its "
        "baseline, the exponent is: 2 larger, 2 undecided."
    ]


def test_findings_and_json_hold_them():
    draw = np.random.default_rng(1)
    results = analyse(of_errors({"0": power(draw, 0.3), "1": power(draw, 0.5)}))
    assert any(sentence.startswith("The error changes with the size N") for sentence in findings(results))
    made = to_dict(results)["scaling"]
    assert [curve["name"] for curve in made] == ["lmax=0", "lmax=1"]
    assert made[1]["difference"]["value"] == results.scaling[1].difference.value


def test_a_place_counts_where_every_size_is_complete():
    tables = of_errors({"0": power(np.random.default_rng(1), 0.3)})
    lost = (pl.col("block") == 2) & (pl.col("arm") == "lmax=0, train=100")
    less = replace(tables, trials=tables.trials.filter(~lost))
    assert size_curves(less)[0].trials == BLOCKS - 1


def test_a_study_of_one_size_has_no_curve(tables):
    assert size_curves(tables) == ()
    assert scaling_sentences([], NEW) == []


@pytest.mark.parametrize(
    ("epochs", "kept", "sentence"),
    [
        ({50: 60, 100: 60, 200: 60, 400: 60}, "epochs", "so a larger training set also took more steps"),
        ({50: 80, 100: 40, 200: 20, 400: 10}, "steps", "equally many steps, rounded up to whole epochs"),
        ({50: 77, 100: 39, 200: 20, 400: 10}, "steps", "equally many steps"),
        ({50: 60, 100: 40, 200: 20, 400: 10}, "", "takes more steps where the number of epochs is the same"),
    ],
)
def test_what_trainings_of_all_sizes_share_is_said(epochs, kept, sentence):
    """Batches of five: 10, 20, 40 and 80 steps an epoch. 770 steps are 77, 38.5, 19.25 and 9.6 epochs, rounded up."""
    draw = np.random.default_rng(2)
    tables = of_errors({"0": power(draw, 0.3), "1": power(draw, 0.5)})
    size = pl.col("arm").str.extract(r"train=(\d+)").cast(pl.Int64)
    number = size.replace_strict(epochs, return_dtype=pl.Int64)
    trials = tables.trials.with_columns(
        number.alias("setting.training.epochs"), (number * -(-size // 5)).alias("max_steps")
    )
    curves = size_curves(replace(tables, trials=trials))
    assert {curve.kept for curve in curves} == {kept}
    assert sentence in " ".join(render(analyse(replace(tables, trials=trials))).split())
