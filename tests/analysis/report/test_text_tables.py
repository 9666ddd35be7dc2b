"""Tables as text: every cell of the report is in them, and LaTeX gets what a plain installation sets."""

from dataclasses import replace

import pytest

from tesseral.analysis.report.arm_table import WORDS, arm_table
from tesseral.analysis.report.text_tables import latex, text_rows, to_latex, to_markdown
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.terms.estimate import interval
from tesseral.analysis.terms.metric_label import typeset


def test_markdown_has_a_row_for_each_arm(results):
    rows = text_rows(results, "arms")
    assert rows == arm_table(results)
    lines = to_markdown(rows, WORDS).splitlines()
    assert len(lines) == 2 + len(results.arms)
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == list(rows[0].values())
    assert lines[1].startswith("| :-- | --: |")


def test_latex_is_ascii_and_whole(results):
    text = to_latex(text_rows(results, "comparisons"), ("arm", "baseline"))
    assert text.isascii()
    assert text.startswith("\\begin{tabular}{llrrr}\n\\toprule\n")
    assert text.count(r" \\") == 1 + len(results.comparisons)
    change = results.comparisons[0].change
    assert latex(interval(change, signed=True)) in text


@pytest.mark.parametrize(
    ("text", "set_as"),
    [
        ("−40 % [−53, −25]", "$-$40 \\% [$-$53, $-$25]"),
        ("2.1·10⁻⁵ e bohr²", "2.1$\\cdot$10$^{-5}$ e bohr$^{2}$"),
        ("mul_a=1 & b", "mul\\_a=1 \\& b"),
        ("ε < 3", "$\\varepsilon$ $<$ 3"),
    ],
)
def test_characters_of_latex(text, set_as):
    assert latex(text) == set_as


def test_targets_of_different_units_have_them_in_their_cells(crossed_results):
    """Not one unit for all, and none unsaid."""
    study = replace(crossed_results.study, metric="test.error")
    of_error = analyse(replace(crossed_results.tables, study=study))
    for kind in ("arms", "trials"):
        cells = {row["arm"]: row["error"] for row in text_rows(of_error, kind) if row["error"] != "–"}
        units = {arm: study.target_of(arm).unit for arm in cells}
        assert len({*units.values()}) > 1
        assert all(typeset(unit) in cells[arm] for arm, unit in units.items())
    assert all("%" not in row["error, % of spread"] for row in text_rows(crossed_results, "arms"))


def test_trials_show_their_error(results):
    rows = text_rows(results, "trials")
    assert len(rows) == 32
    assert rows[0] | {"time": ""} == {
        "trial": "000aaaaaaa",
        "arm": "lmax=0",
        "stage": "confirm",
        "block": "0",
        "replicate": "0",
        "state": "complete",
        "error, %": f"{results.tables.trials['metric.test.epsilon'][0]:.3f}",
        "time": "",
    }
