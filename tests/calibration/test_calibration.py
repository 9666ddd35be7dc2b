"""A small run of the calibration, with thresholds that are wider than a few hundred studies scatter."""

import numpy as np
import pytest

from tesseral.analysis.statistics.comparisons.factors import effects
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.allocation import precise
from tests.calibration import thresholds
from tests.calibration.allocation import blocks_given, sequential
from tests.calibration.calibrate import CELLS
from tests.calibration.cells.effects import false_claims, false_verdicts
from tests.calibration.cells.trainings import claimed, trained
from tests.calibration.first_screen import DEARER, EARNS, SLIGHT, UNDECIDED, WORSE, OrderClaims
from tests.calibration.simulation import errors, ridge, tuning
from tests.calibration.simulation.designs import DESIGNS
from tests.calibration.simulation.studies import factor_study
from tests.calibration.thresholds import share
from tests.calibration.verdicts import against_first, by_search, disagreement, intervals, names

STUDIES = 600
RNG_SEED = 15


def generator() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


@pytest.mark.parametrize("iqm", [False, True])
@pytest.mark.parametrize("here", [False, True])
def test_intervals_of_many_studies_are_those_of_the_project(iqm, here):
    logs = ridge.log_errors(generator(), 6, 3, 9, (36, 8, 12))
    sampling = Sampling(9, overlaps=dict.fromkeys(names(3), 1 / 3), aggregate="iqm" if iqm else "mean")
    found = intervals(against_first(logs), 0.0 if here else 1 / 3, iqm=iqm)
    assert disagreement(found, logs, sampling, here=here) < thresholds.EXACT


def test_intervals_of_tuned_arms_are_those_of_the_project():
    logs = tuning.log_errors(generator(), tuning.Design(3, 20, 3, 7), 6)
    sampling = Sampling(7, 3, dict.fromkeys(names(3), 0.1))
    found = intervals(by_search(against_first(logs), 3), 0.1 * 7 / 3)
    assert disagreement(found, logs, sampling) < thresholds.EXACT


@pytest.mark.parametrize("precision", [5.0, 9.0])
def test_blocks_given_are_those_of_the_rule(precision):
    logs = errors.log_errors(generator(), (errors.PLAIN, errors.PLAIN), 40, 30, 1).mean(axis=3)
    ratios = against_first(logs)[:, 0]
    for study, given in zip(ratios, blocks_given(ratios, precision), strict=True):
        assert given == next((n for n in range(6, 31) if precise(study[:n], 6, precision)), 30)
        found = intervals(study[None, None, :given], 0.2)
        assert sequential(study[None], precision, 0.2).half == pytest.approx(found.half, rel=1e-12)


@pytest.mark.parametrize("kind", errors.KINDS, ids=lambda kind: kind.name)
def test_true_means_of_errors(kind):
    drawn = kind.draw(generator(), (400_000,))
    assert drawn.mean() == pytest.approx(kind.mean, abs=4 * drawn.std() / np.sqrt(drawn.size))


def test_normal_and_skewed_errors_are_covered():
    for kind in errors.KINDS[:3]:
        logs = errors.log_errors(generator(), (errors.PLAIN, kind), 20 * STUDIES, 6, 1).mean(axis=3)
        assert 93 < intervals(against_first(logs)).coverage() < 97
        assert 93 < intervals(logs[:, 1:]).coverage() < 97


def test_new_data_needs_its_own_interval():
    ratios = against_first(ridge.log_errors(generator(), 2 * STUDIES, 4, 10, (36, 8, 12)))
    new, here = intervals(ratios, 12 / 36), intervals(ratios)
    assert new.coverage() > 93
    assert new.any_claim < 7
    assert here.coverage() < 80
    assert here.any_claim > 20


@pytest.mark.parametrize("arms", [2, 4, 10])
def test_tuned_arms_that_are_alike_are_told_apart_seldom(arms):
    logs = tuning.log_errors(generator(), tuning.Design(arms, 50, 6, 6), STUDIES)
    assert intervals(by_search(against_first(logs), 6)).any_claim < 8
    once = tuning.log_errors(generator(), tuning.Design(arms, 50, 1, 6), STUDIES)
    assert intervals(against_first(once)).any_claim > 8


def test_common_proposals_decide_more():
    """A true change of 20 %, of arms tuned by six searches of 50 proposals in all."""

    def power(common: bool) -> float:
        logs = tuning.log_errors(generator(), tuning.Design(4, 50, 6, 6, common), STUDIES)
        logs[:, 1:] += np.log(0.8)
        return 100 * intervals(by_search(against_first(logs), 6)).claimed.mean()

    assert power(common=False) < 45
    assert power(common=True) > 60


def test_the_cells_are_run(monkeypatch):
    """Names are unique, and what each cell takes of the project agrees with it; shares of 24 studies say nothing."""
    monkeypatch.setattr(thresholds, "CHECKED", 1)
    figures = [figure for name, cell in CELLS.items() if not name.startswith("trained") for figure in cell(24)]
    assert len({figure.what for figure in figures}) == len(figures)
    exact = [figure for figure in figures if figure.what.startswith(("difference from", "studies told otherwise"))]
    assert len(exact) > 100
    assert all(figure.holds for figure in exact)


def test_arms_that_differ_in_nothing_are_trained(storage):
    """One short study of two arms: a cell of the calibration trains four longer ones of four."""
    short = {"cutoffs": [3.5, 3.5001], "reference": "water_tiny", "blocks": 3, "epochs": 1}
    size = short | {"train": 8, "validation": 2, "test": 4}
    figures = {figure.what.partition(":")[0]: figure for figure in trained(storage, "without a search", size)}
    assert list(figures) == ["trials without a result", "claims", "steps told for these data alone"]
    assert figures["trials without a result"].value == 0
    assert figures["claims"].value == 0


def test_every_claim_of_a_report_is_counted():
    step = {"upper": "3.5001", "lower": "3.5", "verdict": "undecided"}
    comparison = {"arm": "b", "baseline": "a", "p_holm": 0.2}
    best, trend = {"arms": ["a", "b", "c"], "alike": ["b", "c"]}, {"hidden": "lmax=1", "claims": []}
    told = {"steps": [step], "arms": [{"comparison": None}, {"comparison": comparison}], "best": [best]}
    assert list(claimed(told | {"trends": [trend]})) == []
    claim = {"kind": "grows", "p_holm": 0.01}
    told = {
        "steps": [step | {"verdict": "worse"}, step | {"verdict": "no worse than δ"}],
        "arms": [{"comparison": comparison | {"p_holm": 0.04}}],
        "best": [best | {"alike": ["b"]}],
        "trends": [trend | {"claims": [claim]}],
    }
    known = ["3.5001 against 3.5: worse", "b against a", "a is told from some", "lmax=1: grows"]
    assert list(claimed(told)) == known


def test_a_share_may_miss_its_threshold_by_its_monte_carlo_error():
    """58 of 1,000 studies: 5.8 ± 0.74 %; of 100,000 studies: ± 0.07 %."""
    few, many = (share("claims", np.arange(studies) % 1000 < 58, 5.5) for studies in (1000, 100_000))
    assert few.error == pytest.approx(0.74, abs=0.005)
    assert (few.holds, many.holds) == (True, False)
    alike = share("coverage", np.repeat(np.arange(1000) % 1000 < 58, 3).reshape(1000, 3))
    assert alike.error == pytest.approx(few.error), "what is said thrice of one study counts once"


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_effects_in_closed_form_are_those_of_the_project(design):
    logs = errors.log_errors(generator(), len(design.arms) * (errors.PLAIN,), 1, 6, 1)[0, ..., 0]
    told = effects(factor_study(logs, design))
    assert [np.log1p(effect.change.value / 100) for effect in told] == pytest.approx(
        design.contrasts @ logs.mean(axis=1)
    )


def test_false_verdicts():
    """A change by δ = 2 % is not smaller than δ, and one of 1 % is."""
    truth = np.log([0.9, 1.0, 1.1, 1.02, 1.01])
    told = [false_verdicts(np.full((1, 5), verdict), truth)[0].tolist() for verdict in (EARNS, WORSE, DEARER, SLIGHT)]
    assert told == [
        [False, True, True, True, True],
        [True, True, False, False, False],
        [True, False, True, True, False],
        [True, True, True, True, True],
    ]
    assert not false_verdicts(np.full((1, 5), UNDECIDED), truth).any()


def test_false_claims_by_order():
    growing, alike = np.array([[0.0, -0.1, -0.2]]), np.full((1, 3), -0.1)
    nothing = {"changed": np.zeros((1, 1, 3), int), "largest": np.array([[-1]]), "slope": np.array([[0]])}

    def is_false(truth, **claims):
        return bool(false_claims(OrderClaims(**(nothing | claims)), truth)[0, 0])

    assert not is_false(growing)
    assert not is_false(growing, largest=np.array([[2]]), slope=np.array([[1]]), changed=np.array([[[0, -1, -1]]]))
    assert is_false(growing, largest=np.array([[1]]))
    assert is_false(growing, slope=np.array([[-1]]))
    assert is_false(growing, changed=np.array([[[-1, 0, 0]]]))
    assert is_false(growing, changed=np.array([[[0, 1, 0]]]))
    assert is_false(alike, largest=np.array([[2]]))
    assert is_false(alike, slope=np.array([[1]]))
