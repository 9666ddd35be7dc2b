"""Units, against ASE's."""

import pytest
from ase import units

from tesseral.study.configuration.quantities import COLUMNS
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.units import size_of


@pytest.mark.parametrize(
    ("unit", "within", "size"),
    [
        ("eV", "hartree", 1 / units.Hartree),
        ("kcal/mol", "hartree", units.kcal / units.mol / units.Hartree),
        ("kJ/mol", "hartree", units.kJ / units.mol / units.Hartree),
        ("eV/Å", "hartree/bohr", units.Bohr / units.Hartree),
        ("Debye", "e bohr", units.Debye / units.Bohr),
        ("debye*angstrom", "e bohr^2", units.Debye / units.Bohr**2),
        ("e angstrom^3", "e bohr^3", units.Bohr**-3),
        ("angstrom^3", "bohr^3", units.Bohr**-3),
    ],
)
def test_units_are_those_of_ase(unit, within, size):
    assert size_of(unit, within) == pytest.approx(size, rel=1e-6)  # CODATA 2014 there


def test_every_column_knows_its_own_unit():
    for unit in [column.unit for column in COLUMNS.values()]:
        assert size_of(unit, unit) == size_of("au", unit) == 1
    with pytest.raises(TesseralError, match="got 'bohr'; valid are hartree, eV"):
        size_of("bohr", "hartree")
    with pytest.raises(TesseralError, match=r"got 'Ha'; did you mean 'hartree'\? valid are hartree, eV"):
        size_of("Ha", "hartree")
    with pytest.raises(TesseralError, match=r"got ''; valid are hartree, eV"):
        size_of("", "hartree")
