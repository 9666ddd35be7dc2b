"""The figure of the slices of a search: its points, the chosen ones, its place in the report."""

from tesseral.analysis.figures.slice_figures import slice_figures
from tesseral.analysis.statistics.searches.slices import slices
from tests.support.report_page import tooltips


def test_each_proposal_is_drawn_and_the_chosen_ones_are_marked(tuned, tuned_page, page):
    (figure,) = slice_figures(tuned, slices(tuned))
    told = tooltips(figure)
    assert sorted(told) == [
        "lmax=0, learning_rate 0.001: 0.9",
        "lmax=0, learning_rate 0.003: 0.7",
        "lmax=0, learning_rate 0.004: 0.8",
        "lmax=0, learning_rate 0.007: 0.75",
        "lmax=1, learning_rate 0.001: 0.5",
        "lmax=1, learning_rate 0.002: 0.6",
        "lmax=1, learning_rate 0.005: 0.4",
    ]
    rows = next(iter(figure.chart.to_dict()["datasets"].values()))
    assert [row["tooltip"] for row in rows if row["chosen"]] == [
        "lmax=0, learning_rate 0.003: 0.7",
        "lmax=1, learning_rate 0.005: 0.4",
    ]
    assert tuned_page.count('<figure id="slices">') == 1
    assert '<figure id="slices">' not in page
