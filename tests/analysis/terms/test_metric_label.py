"""Metrics in words."""

from tesseral.analysis.terms.metric_label import describe, typeset
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.quantities import QUANTITIES

DIPOLE = TargetLabel(QUANTITIES["dipole"])

RELATIVE = "test.relative_error"


def test_titles_and_axes_name_target_and_unit():
    assert describe("test.error", DIPOLE).title == "Error of the dipole (test)"
    assert describe("test.error", DIPOLE).axis == "error, e bohr"
    assert describe("test.error").axis == "error"
    assert describe(RELATIVE, DIPOLE).axis == "relative error, % of the target’s spread"
    assert describe(RELATIVE).noun == "the relative error"
    assert describe("test.error", TargetLabel(QUANTITIES["homo"])).noun == "the error of the HOMO energy"
    assert describe("test.epsilon", TargetLabel()).noun == "the density error ε"
    assert [typeset(unit) for unit in ("e bohr^3", "bohr^(-3/2)", "%")] == ["e bohr³", "bohr^(-3/2)", "%"]
