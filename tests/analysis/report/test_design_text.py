"""The design in words: what was matched, and how."""

from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.design_text import blocks_planned
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.study.design.arm import Excluded
from tesseral.study.design.study_file import Match
from tests.support.report_page import cells
from tests.support.synthetic_study import info, table, trial_rows

MATCHED = {"match": "parameters", "parameters_live": 9000, "components": 120, "flops": 1_240_000}


def matched(*residuals, **changes):
    rows = [row | MATCHED | changes | {"residual": residuals[int(row["arm"][-1])]} for row in trial_rows()]
    return load(table(rows), [], [], info(match=Match(by="parameters")))


def test_matched_arms_show_what_was_matched():
    tables = matched(0.0, 0.004, -0.023, 0.0)
    results = analyse(tables)
    rows = arm_table(results)
    assert list(rows[0])[5:] == ["live parameters", "residual, %", "FLOPs per step", "time", "notes"]
    assert [row["live parameters"] for row in rows] == ["9,000"] * 4
    assert [row["residual, %"] for row in rows] == ["0.00", "+0.40", "−2.30", "0.00"]
    assert rows[2]["FLOPs per step"] == "1.24 M"
    assert rows[2]["notes"] == "size differs from its target by −2.30 %"
    assert rows[1]["notes"] == ""
    assert "but 1 arm deviates by more than 1 %, so a change may come from size" in " ".join(findings(results))
    size = (
        "multiplicities of the hidden irreps are scaled to equal live parameters (those that a gradient can reach); "
        "the target is the largest arm; the "
    )
    assert ["size", f"{size}largest residual is 2.3 %"] in cells(report(tables), "Design")


def test_a_close_match_is_told_and_one_within_levels_is_compared_within_them():
    close, told = (
        matched(0.0, 0.004, -0.002, 0.0),
        "The arms are matched in live parameters (those that a gradient can reach) to within 1 %.",
    )
    assert told in findings(analyse(close))
    within = load(close.trials, [], [], info(match=Match(by="parameters", to=9000, within=("network.layers",))))
    assert told in findings(analyse(within))
    assert "within each level of network.layers; the target is 9,000" in report(within)


def test_the_design_of_a_fraction_stands_in_the_page():
    notes_ = ("2^(3-1) fraction of resolution III: 4 of 8 combinations", "generator C = AB: c = a × b")
    excluded = (Excluded("lmax=9, <b>", "lmax < 9", "design.where[0]"),)
    study = info(design="fractional", design_notes=notes_, excluded=excluded)
    page = report(load(table(trial_rows()), [], [], study))
    assert f"{notes_[0]}<br>{notes_[1]}" in page
    assert "lmax=9, &lt;b&gt;, by the condition <code>lmax &lt; 9</code>" in page
    assert ["kind", "two-level fractional factorial; 4 arms"] in cells(page, "Design")


def test_folds_are_told():
    assert blocks_planned(info()) == "4 blocks"
    assert blocks_planned(info(folds=True)) == "4 blocks of disjoint test folds"
    sequential = info(folds=True, sequential=True, max_blocks=9, precision=5.0)
    assert blocks_planned(sequential) == "4 to 9 blocks of disjoint test folds"
