"""The table of arms: its columns, its cells and its notes."""

import re

import pytest

from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table, flag_lines, short_table
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.design.study_file import Match
from tests.support.dipole_study import DIPOLE, RELATIVE, dipole_tables
from tests.support.report_page import words
from tests.support.synthetic_study import SPREADS, info, label, table, trial_rows

MATCHED = {"match": "parameters", "parameters_live": 9000, "components": 120, "flops": 1_240_000}


def matched(*residuals, **changes):
    rows = [row | MATCHED | changes | {"residual": residuals[int(row["arm"][-1])]} for row in trial_rows()]
    return load(table(rows), [], [], info(match=Match(by="parameters")))


def test_notes_stand_below_the_table_of_a_terminal():
    rows = [row for row in trial_rows(blocks=2, replicates=1) if row["arm"] != "lmax=3"]
    arms = ("lmax=0", "lmax=1", "lmax=2")
    assert flag_lines(analyse(load(table(rows), [], [], info(arms=arms, blocks=2, replicates=1)))) == [
        "lmax=0: cannot reach 1x4e",
        "every arm: too few trials for an interval",
    ]


def test_a_terminal_names_both_intervals():
    rows = analyse(load(table(trial_rows(blocks=6)), [], [], info(blocks=6, overlaps={"lmax=1": 0.3})))
    assert list(short_table(rows)[0]) == [
        "arm",
        "error, %",
        "change, %, new data",
        "for these data",
        "parameters",
        "time",
    ]
    few = analyse(load(table(trial_rows(blocks=2)), [], [], info(blocks=2)))
    assert list(short_table(few)[0])[2:4] == ["change, %, these splits", "parameters"]


def test_errors_stand_in_units_and_as_a_share_of_the_spread(crossed_results):
    rows = {row["arm"]: row for row in arm_table(crossed_results)}
    assert list(rows[label(0, "energy")])[:5] == [
        "arm",
        "trials",
        "error, % of spread",
        "error in its unit",
        "change, %, new data",
    ]
    for quantity, unit in (("energy", "hartree"), ("dipole", "e bohr"), ("quadrupole", "e bohr²")):
        row = rows[label(1, quantity)]
        assert f" {unit} [" in row["error in its unit"]
        share = float(row["error, % of spread"].split()[0])
        own = float(row["error in its unit"].split()[0])
        assert own == pytest.approx(0.008 * SPREADS[quantity] * share, rel=0.01)
    assert re.fullmatch(r"ε 0\.4\d+ % \[.*\]", rows[label(1, "density")]["error in its unit"])


@pytest.mark.parametrize(
    ("metric", "headings", "sentence"),
    [
        (
            RELATIVE,
            ["error, % of spread", "error, e bohr"],
            "lmax=2 has the lowest observed mean of the relative error of the dipole: 24.9 % [21.2, 29.3] of the t",
        ),
        (
            "test.error",
            ["error, e bohr", "error, % of spread"],
            "lmax=2 has the lowest observed mean of the error of the dipole: 0.159 e bohr [0.135, 0.187] (8 trials in ",
        ),
    ],
)
def test_a_study_of_one_property_has_both_too(metric, headings, sentence):
    tables = dipole_tables(metric)
    results = analyse(tables)
    assert list(arm_table(results)[0])[2:4] == headings
    told = findings(results)
    noun = describe(metric, DIPOLE).noun
    assert next(one for one in told if "lowest observed" in one).startswith(sentence)
    assert told[1].startswith(f"Against lmax=0, lmax=2 lowers {noun} by 46.0 % [44.4, 47.5]")
    page = words(report(tables))
    assert f"Error: {noun}" in page
    assert "ε" not in page.split("<h2>Design")[0]
    assert "SCF" not in page
    assert summary.to_dict(results)["unit"] == ("%" if metric == RELATIVE else "e bohr")


def test_units_of_a_match_that_is_a_factor_stand_in_the_table():
    units = ("none", "parameters", "components", "flops")
    rows = [row | MATCHED | {"match": units[int(row["arm"][-1])], "residual": 0.001} for row in trial_rows()]
    tables = load(table(rows), [], [], info())
    results = analyse(tables)
    rows_shown = arm_table(results)
    assert [row["matched in"] for row in rows_shown] == list(units)
    assert [row["residual, %"] for row in rows_shown] == ["–", "+0.10", "+0.10", "+0.10"]
    assert {row["components"] for row in rows_shown} == {"120"}
    told = " ".join(findings(results))
    assert "matched in different ways (components, flops, none, parameters)" in told
