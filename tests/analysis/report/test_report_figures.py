"""The figures of a report are all of those that its page shows."""

import re

from tesseral.analysis.report.report_figures import report_figures


def test_every_figure_of_the_page_is_there(results, page):
    shown = re.findall(r'<figure id="([^"]+)">', page)
    assert sorted(figure.name for figure in report_figures(results)) == sorted(shown)
