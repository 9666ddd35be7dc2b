"""PED-ANOVA against Optuna's, and its chance level."""

import warnings
from dataclasses import replace

import numpy as np
import optuna
import polars as pl
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.searches.importance import _TOP, best_of_each, divergence, grid_places, importances
from tesseral.analysis.tables.load import StudyTables, load
from tesseral.analysis.tables.search import SearchRecords
from tesseral.study.design.parameter import read_parameter
from tesseral.study.design.study_file import Search
from tests.support.synthetic_study import info, table, trial_row

ARMS = ("lmax=0", "lmax=1", "lmax=2")
SPACE = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "training.batch_size": {"low": 1, "high": 16},
    "network.layers": {"low": 1, "high": 8, "log": True},
    "network.radial_cutoff": {"low": 3.0, "high": 6.0, "step": 0.5},
    "network.interaction": ["gated", "mace", "cormorant"],
}
DISTRIBUTIONS = {
    "training.learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "training.batch_size": IntDistribution(1, 16),
    "network.layers": IntDistribution(1, 8, log=True),
    "network.radial_cutoff": FloatDistribution(3.0, 6.0, step=0.5),
    "network.interaction": CategoricalDistribution(["gated", "mace", "cormorant"]),
}


def proposals(draw: np.random.Generator, number: int) -> list[dict]:
    return [
        {
            "training.learning_rate": float(10 ** draw.uniform(-4, -1)),
            "training.batch_size": int(draw.integers(1, 17)),
            "network.layers": int(draw.integers(1, 9)),
            "network.radial_cutoff": float(3 + 0.5 * draw.integers(0, 7)),
            "network.interaction": str(draw.choice(["gated", "mace", "cormorant"])),
        }
        for _ in range(number)
    ]


def test_it_is_that_of_optuna():
    draw = np.random.default_rng(1)
    settings = proposals(draw, 40)
    errors = [abs(np.log10(each["training.learning_rate"]) + 2) + 0.1 * draw.standard_normal() for each in settings]
    study = optuna.create_study()
    for params, error in zip(settings, errors, strict=True):
        study.add_trial(optuna.trial.create_trial(params=params, distributions=DISTRIBUTIONS, value=error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_TOP)
    expected = evaluator.evaluate(study)
    top = np.array(errors) <= np.sort(errors)[9]
    for path, given in SPACE.items():
        parameter = read_parameter(path, path, given)
        places, size = grid_places(parameter, [each[path] for each in settings])
        own = divergence(places, top, size, categorical=bool(parameter.choices))
        assert own * (top.sum() / 40) ** 2 == pytest.approx(expected[path], rel=1e-6), path


def study_of(settings: list[dict], errors: list[float], arms: int = 1, repeats: int = 1) -> StudyTables:
    """Proposals in turn of each of several arms and, within an arm, of each of its searches."""
    rows = [
        trial_row(number % arms, number // arms % repeats, 0)
        | {"stage": "search", "trial": f"{number}".rjust(64, "d"), "proposal": number}
        | {f"setting.{path}": value for path, value in each.items()}
        | {"metric.validation.l2_error": error}
        for number, (each, error) in enumerate(zip(settings, errors, strict=True))
    ]
    nested = {"training": {"learning_rate": SPACE["training.learning_rate"]}}  # as a study file may write it
    flat = {path: given for path, given in SPACE.items() if path != "training.learning_rate"}
    search = Search(trials=len(rows), space=nested | flat)
    study = info(arms=ARMS[:arms], search=search, searches=repeats, objectives=("validation.l2_error",))
    made = pl.DataFrame(
        [(row["arm"], row["block"], row["proposal"], row["trial"]) for row in rows],
        schema={"arm": pl.String, "repeat": pl.Int64, "number": pl.Int64, "trial": pl.String},
        orient="row",
    )
    return load(table(rows), [], [], study, SearchRecords(made))


def test_what_decides_the_error_is_important_and_beyond_chance():
    draw = np.random.default_rng(2)
    settings = proposals(draw, 40)
    errors = v_shaped(settings, draw)
    tables = study_of(settings, errors)
    found = {each.path: each for each in importances(tables, np.random.default_rng(3))}
    assert set(found) == set(SPACE)
    assert sum(each.share for each in found.values()) == pytest.approx(100)
    assert max(found.values(), key=lambda each: each.share).path == "training.learning_rate"
    assert [path for path, each in found.items() if each.p_holm < 0.05] == ["training.learning_rate"]
    assert importances(tables, np.random.default_rng(3)) == tuple(found.values())
    page = report(tables)
    assert "<summary>Importance of hyperparameters</summary>" in page
    share = found["training.learning_rate"].share
    assert f'<td>training.learning_rate</td><td class="number">{share:.0f}</td>' in page
    assert importances(study_of(settings[:11], errors[:11]), np.random.default_rng(3)) == ()


def test_hyperparameters_without_an_effect_are_rarely_beyond_chance():
    draw = np.random.default_rng(4)
    claimed = 0
    for _ in range(10):
        tables = study_of(proposals(draw, 20), [float(error) for error in draw.standard_normal(20)])
        claimed += any(each.p_holm < 0.05 for each in importances(tables, draw))
    assert claimed <= 2


def v_shaped(settings: list[dict], draw: np.random.Generator) -> list[float]:
    """Errors that the learning rate decides."""
    return [
        abs(float(np.log10(each["training.learning_rate"])) + 2) + 0.1 * float(draw.standard_normal())
        for each in settings
    ]


def test_fifteen_tests_leave_a_corrected_p_below_the_level():
    """Three arms and five hyperparameters: of 199 permutations the smallest p would be 15/200."""
    draw = np.random.default_rng(5)
    settings = proposals(draw, 120)
    found = importances(study_of(settings, v_shaped(settings, draw), arms=3), np.random.default_rng(6))
    assert len(found) == 15
    rates = [each.p_holm for each in found if each.path == "training.learning_rate"]
    assert max(rates) < 0.01
    assert rates[0] == pytest.approx(15 / 1501)


def test_errors_are_ranked_within_a_search():
    """What a split adds to all errors of its search changes nothing; ranked together, the first would be the best."""
    draw = np.random.default_rng(7)
    settings = proposals(draw, 60)
    for number, each in enumerate(settings):
        each["training.batch_size"] = 1 + number % 3  # as if each search had found another one
    errors = v_shaped(settings, draw)
    shifted = [error + 10 * (number % 3) for number, error in enumerate(errors)]
    one, other = (
        importances(study_of(settings, each, repeats=3), np.random.default_rng(8)) for each in (errors, shifted)
    )
    assert one == other
    assert {each.path: each.p_holm < 0.05 for each in one} == {path: "learning_rate" in path for path in SPACE}
    frame = pl.DataFrame({"repeat": [0] * 4 + [1] * 5, "value": [4.0, 3, 2, 1, 9, 8, 8, 7, 9]})
    assert best_of_each(frame).tolist() == [False, False, False, True, False, True, True, True, False]


def test_a_study_without_a_search_has_none(tables):
    assert importances(tables, np.random.default_rng(0)) == ()
    assert importances(replace(tables, study=replace(tables.study, search=None)), np.random.default_rng(0)) == ()
