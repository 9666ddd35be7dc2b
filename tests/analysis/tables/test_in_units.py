"""Tables in other units: errors of every split, order and curve are converted, and nothing else."""

from dataclasses import replace

import polars as pl
import pytest

from tesseral.analysis.tables.in_units import asked_units, in_units
from tesseral.analysis.terms.shown_units import ShownUnits
from tesseral.study.errors import TesseralError
from tests.support.dipole_study import RELATIVE, dipole_tables

DEBYE = ShownUnits(dipole="debye")
SIZE = 2.541746  # debye in one e bohr


def test_errors_are_converted_and_shares_are_not():
    tables = dipole_tables(RELATIVE)
    shown = in_units(tables, DEBYE)
    for column in tables.trials.columns:
        before, after = tables.trials[column], shown.trials[column]
        if column.startswith("metric.test.error"):
            assert after.to_list() == pytest.approx([SIZE * value for value in before], rel=1e-6)
        else:
            assert after.equals(before, null_equal=True), column
    assert shown.study.target.unit == "debye"
    assert tables.study.target.unit == "e bohr"


def test_curves_are_converted_by_what_their_trial_predicts():
    tables = dipole_tables(RELATIVE)
    trial = tables.trials["trial"][0]
    rows = [(trial, "error", 1.0), (trial, "relative_error", 1.0), ("x", "error", 1.0)]
    curves = pl.LazyFrame(rows, schema=["trial", "metric", "value"], orient="row")
    (scaled, share, other) = in_units(replace(tables, curves=curves), DEBYE).curves.collect()["value"]
    assert (scaled, share, other) == (pytest.approx(SIZE, rel=1e-6), 1.0, 1.0)


def test_units_of_the_data_change_nothing():
    tables = dipole_tables(RELATIVE)
    assert in_units(tables, ShownUnits()) is tables
    assert in_units(tables, ShownUnits(energy="eV")) is tables


def test_units_are_asked_for_that_an_error_has():
    tables = dipole_tables(RELATIVE)
    assert asked_units([tables], ["debye"]) == DEBYE
    with pytest.raises(TesseralError, match="expected units of dipoles, got eV, a unit of energies"):
        asked_units([tables], ["eV"])
