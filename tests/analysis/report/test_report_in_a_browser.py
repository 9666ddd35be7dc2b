"""Reports in headless Chromium, at the width of a telephone and of a desk."""

import re

import numpy as np
import pytest

from tesseral.analysis.report.report import report
from tests.analysis.statistics.comparisons.test_scaling import of_errors, power
from tests.analysis.statistics.searches.test_importance import proposals, study_of
from tests.support.browser import CHROMIUM, look

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def sizes_page():
    """Three curves over four training sets."""
    draw = np.random.default_rng(1)
    return report(of_errors({str(lmax): power(draw, exponent) for lmax, exponent in enumerate((0.3, 0.5, 0.32))}))


@pytest.fixture(scope="module")
def searched_page():
    """A search over five hyperparameters."""
    draw = np.random.default_rng(2)
    return report(study_of(proposals(draw, 20), [float(error) for error in np.exp(draw.standard_normal(20))]))


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("name", ["page", "crossed_page", "tuned_page", "sizes_page", "searched_page"])
def test_every_figure_is_drawn_and_nothing_is_cut(request, tmp_path, name, width):
    page = request.getfixturevalue(name)
    shown = look(page, width, tmp_path)
    assert shown.figures == re.findall(r'<figure id="([^"]+)"', page)
    assert len(shown.figures) > 1
    assert (shown.fetched, shown.problems) == ([], [])


def test_what_is_wrong_is_seen(tmp_path):
    """The look itself: a page with each kind of problem."""
    text = '<text x="10" y="20" font-size="12">{}</text>'
    page = f"""<!doctype html><style>body {{ margin: 0 }}</style>
    <p style="width: 900px">too wide</p><img src="http://127.0.0.1:9/a.png">
    <figure id="none"><svg viewBox="0 0 100 100" width="100"></svg></figure>
    <figure id="both"><svg viewBox="0 0 100 50" width="100"><path role="graphics-symbol" d="M0 0H9"></path>
    {text.format("one")}{text.format("two")}</svg></figure>
    <figure id="tiny"><svg viewBox="0 0 400 50" width="100"><path role="graphics-symbol" d="M0 0H9"></path>
    {text.format("small")}</svg></figure>"""
    shown = look(page, 420, tmp_path)
    assert shown.figures == ["none", "both", "tiny"]
    assert shown.fetched == ["http://127.0.0.1:9/a.png"]
    assert shown.problems == [
        "cut: the page is wider than the window",
        "cut: p too wide",
        "empty: none",
        "overlap: both: two / one",
        "small: tiny: small",
    ]
