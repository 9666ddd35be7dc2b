"""A small run of the calibration, with thresholds that are wider than a few hundred studies scatter."""

import numpy as np
import pytest

from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.allocation import precise
from tests.calibration import cells, errors, ridge, thresholds, tuning
from tests.calibration.allocation import blocks_given, sequential
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
    figures = list(cells.all_cells(24))
    assert len({figure.what for figure in figures}) == len(figures)
    exact = [figure for figure in figures if figure.what.startswith("difference from")]
    assert len(exact) > 50
    assert all(figure.holds for figure in exact)
