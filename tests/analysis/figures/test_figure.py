"""Figures: what each study and each target has, what they hold, and how they are saved."""

import base64
import re

from tesseral.analysis.figures.curve_figures import feature_figures, learning_figures
from tesseral.analysis.figures.error_figures import error_figures
from tesseral.analysis.figures.figure import Figure, by_group
from tesseral.analysis.statistics.comparisons.paired import Comparison, arm_errors
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.learning_curves import learning_curves
from tesseral.analysis.terms.estimate import Estimate, interval
from tesseral.analysis.terms.sampling import Sampling
from tests.support.report_page import tooltips
from tests.support.synthetic_study import TARGETS, study_tables, trial_rows

METRIC = "test.epsilon"


def change(value, low=None, high=None, p=None, p_holm=None, **changes):
    given = {"arm": "b", "baseline": "a", "pairs": 6, "missing": 0, "unit": "pair", "units": 6}
    return Comparison(
        difference=Estimate(value), change=Estimate(value, low, high, p), p_holm=p_holm, **(given | changes)
    )


def test_figures_hold_what_they_should(tables, results):
    figures = {figure.name: figure for figure in error_figures(tables, results.arms)}
    assert list(figures) == ["error-by-arm", "change-by-arm", "error-by-order", "error-against-cost"]
    curves = [figure.name for figure in learning_figures(tables, learning_curves(tables))]
    assert curves == ["learning", "learning-by-order"]
    told = tooltips(figures["error-by-arm"])
    assert sum("replicate" in text for text in told) == 32
    mean = arm_errors(tables.trials, METRIC, ["lmax=3"], Sampling(4))[0].error
    assert told.count(f"lmax=3: {interval(mean, '%')}") == 2  # its diamond and its bar
    orders = tooltips(figures["error-by-order"])
    assert "lmax=0, l = 4: 100 % (out of reach, predicted as zero)" in orders
    assert len({text for text in orders if "out of reach" in text}) == 1


def test_a_saved_figure_is_the_shown_one(tables, results):
    figure = next(error_figures(tables, results.arms))
    saved = base64.b64decode(figure.data_url.partition(",")[2]).decode()
    assert saved == str(figure.svg)
    assert saved.startswith("<svg xmlns=")


def test_figures_of_features_show_a_few_arms_each(tmp_path):
    rows = trial_rows(blocks=1, replicates=1)
    five = [*rows, rows[3] | {"arm": "again", "trial": "e" * 64}]
    tables = study_tables(tmp_path, five, arms=("lmax=0", "lmax=1", "lmax=2", "lmax=3", "again"))
    figures = list(feature_figures(analyse(tables)))
    assert [figure.name for figure in figures] == ["features-1", "features-2"]
    assert all(isinstance(figure, Figure) for figure in figures)
    lines = tooltips(figures[0])
    assert "lmax=3, layer 3, l = 3" in lines
    assert len(set(lines)) == 3 * (1 + 2 + 3 + 4)


def test_each_target_has_its_figures(crossed, crossed_page):
    sections = by_group(
        crossed, lambda part: [*error_figures(part, analyse(part).arms), *learning_figures(part, learning_curves(part))]
    )
    assert [section.title for section in sections] == ["Energy", "Density", "Quadrupole", "Dipole"]
    energy, density = ([figure.name for figure in section.figures] for section in sections[:2])
    assert energy == ["error-by-arm-1", "change-by-arm-1", "error-against-cost-1", "learning-1"]
    assert density[2:] == ["error-by-order-2", "error-against-cost-2", "learning-2", "learning-by-order-2"]
    for section, quantity in zip(sections, TARGETS, strict=True):
        for figure in section.figures:
            assert {name for name in TARGETS if f"quantity={name}" in str(figure.svg)} == {quantity}
    ids = re.findall(r'\bid="([^"]*)"', crossed_page)
    assert len(ids) == len(set(ids))
    assert (
        crossed_page.index('id="benefit-by-order"')
        < crossed_page.index("<h3>Energy</h3>")
        < crossed_page.index('id="error-by-arm-1"')
    )
