"""Physical constants and symbols are PySCF's to the last bit: reference data, and so the ids of trials, rely on it."""

from pyscf.data import nist
from pyscf.data.elements import ELEMENTS
from pyscf.lib import param

from tesseral.study.constants import BOHR, BOLTZMANN, DALTON, HARTREE_WAVENUMBER, SYMBOLS


def test_constants_equal_those_of_pyscf_to_the_last_bit():
    assert BOHR == nist.BOHR == param.BOHR
    assert HARTREE_WAVENUMBER == nist.HARTREE2WAVENUMBER
    assert DALTON == nist.AMU2AU
    assert BOLTZMANN == nist.BOLTZMANN / nist.HARTREE2J


def test_symbols_stand_in_the_order_of_atomic_numbers():
    assert list(SYMBOLS) == ELEMENTS[1:]
