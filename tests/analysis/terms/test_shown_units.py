"""Units are those of the file, of the import, or those that are asked for; factors are ASE's."""

import ase.units
import pytest

from tesseral.analysis.terms.shown_units import RECORDED, VALID, ShownUnits
from tesseral.study.design.study_file import Units
from tesseral.study.errors import TesseralError

IMPORTED = {"energy": "EV", "forces": "eV/Å", "dipole": "au", "shift": "ppm"}
ALL = RECORDED.values()


def test_what_was_imported_decides():
    units = ShownUnits.chosen(Units(), IMPORTED)
    assert units == ShownUnits("eV", "meV/angstrom", "e bohr")
    assert ShownUnits.chosen(Units(energy="kJ/mol"), IMPORTED).energy == "kJ/mol"
    assert ShownUnits.chosen(Units(), {}) == ShownUnits()
    assert ShownUnits.chosen(Units(), {"energy": "rydberg"}) == ShownUnits(), "no unit of reports"


def test_what_is_asked_for_comes_last():
    units = ShownUnits("eV", "meV/angstrom", "e bohr")
    assert units.asked(["debye", "kcal/mol"], ALL) == ShownUnits("kcal/mol", "meV/angstrom", "debye")
    assert units.asked(["atomic", "MEV/Å"], ALL) == ShownUnits(forces="meV/angstrom")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["furlong"], r"expected units, got 'furlong'; valid are hartree, eV, .*, kbar, atomic$"),
        (["kcal"], r"got 'kcal'; did you mean 'kcal/mol'\? valid are"),
        (["Ha"], r"did you mean 'hartree'\?"),
        (["ev/A"], r"did you mean 'eV/angstrom'\?"),
        (["meV/ang"], r"did you mean 'meV/angstrom'\?"),
        (["debey"], r"did you mean 'debye'\?"),
        (["eV", "debye", "kcal/mol"], r"expected one unit for energies, got eV and kcal/mol$"),
    ],
)
def test_a_wrong_unit_is_answered_with_the_nearest(names, sentence):
    with pytest.raises(TesseralError, match=sentence):
        ShownUnits().asked(names, ALL)


@pytest.mark.parametrize(
    ("recorded", "sentence"),
    [
        ({"hartree", "hartree/bohr"}, "expected units of energies or forces, got debye, a unit of dipoles"),
        ({"%", "bohr^3"}, "expected none: no error here has a unit that can change, got debye, a unit of dipoles"),
    ],
)
def test_a_unit_that_no_error_has_is_refused(recorded, sentence):
    with pytest.raises(TesseralError, match=sentence):
        ShownUnits().asked(["debye"], recorded)


def test_factors_are_those_of_ase():
    units = ShownUnits("kcal/mol", "meV/angstrom", "debye")
    assert units.factor("hartree") == pytest.approx(ase.units.Hartree / (ase.units.kcal / ase.units.mol), rel=1e-7)
    assert units.factor("hartree/bohr") == pytest.approx(1000 * ase.units.Hartree / ase.units.Bohr, rel=1e-7)
    assert units.factor("e bohr") == pytest.approx(ase.units.Bohr / ase.units.Debye, rel=1e-6)
    assert units.factor("bohr^3") == 1.0
    assert units.shown("bohr^3") == "bohr^3"


def test_every_valid_unit_has_a_factor():
    for kind, valid in VALID.items():
        recorded = getattr(ShownUnits(), kind)
        assert all(ShownUnits(**{kind: unit}).factor(recorded) > 0 for unit in valid)
