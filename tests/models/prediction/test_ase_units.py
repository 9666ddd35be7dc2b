"""Units of ASE are ASE's own, and a polarizability is a matrix with the right trace."""

import ase.units
import numpy as np
import pytest

from tesseral.models.prediction.ase_units import ase_unit, to_ase
from tesseral.study.configuration.quantities import QUANTITIES

FORCES, POLARIZABILITY = QUANTITIES["forces"], QUANTITIES["polarizability"]


@pytest.mark.parametrize(
    ("column", "unit", "size"),
    [
        ("energy", "eV", ase.units.Hartree),
        ("forces", "eV/Å", ase.units.Hartree / ase.units.Bohr),
        ("dipole", "e Å", ase.units.Bohr),
        ("quadrupole", "e bohr^2", 1.0),
    ],
)
def test_units_are_those_of_ase(column, unit, size):
    assert ase_unit(column, FORCES) == (unit, pytest.approx(size, rel=1e-7))


def test_a_polarizability_is_a_symmetric_matrix():
    matrix = to_ase("polarizability", np.array([3.0, 0.1, 0.2, 0.3, 0.4, 0.5]), POLARIZABILITY)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.trace(matrix) / 3**0.5 == pytest.approx(3.0)
    assert np.square(matrix).sum() == pytest.approx(9 + 0.01 + 0.04 + 0.09 + 0.16 + 0.25)
