"""A mistake in a method or a structure is one clear line, before any field is started."""

import numpy as np
import pytest
from pyscf import scf

from tesseral.models.reference.calculation import calculation
from tesseral.models.reference.calculation.calculation import calculate, reference_basis
from tesseral.models.reference.structure import Structure
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.recipe.method import Method

WATER = Structure("water", (8, 1, 1), np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]))
HARTREE_FOCK = Method(method="HF", basis="def2-SVP")


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (Method(method="PBE00"), "method.method: expected 'HF' or a functional that PySCF knows, got 'PBE00'"),
        (Method(method=""), "method.method: expected 'HF' or a functional that PySCF knows, got ''"),
        (
            Method(basis="def3-SVP"),
            "method.basis: expected a basis that PySCF or the Basis Set Exchange has, got 'def3",
        ),
        (Method(auxiliary_basis="jfut"), "method.auxiliary_basis: expected a basis that PySCF or the Basis Set"),
        (Method(basis="crenbl"), "method.basis: expected a basis for all electrons of O, 'crenbl' replaces 2 of them"),
    ],
)
def test_a_mistake_in_the_method_is_one_line_before_the_field(method, sentence, no_field):
    with pytest.raises(StudyFileError) as error:
        calculate(WATER, method)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)
    assert error.value.path == sentence.partition(":")[0]


@pytest.mark.parametrize(
    ("numbers", "method", "sentence"),
    [
        ((92,), Method(basis="STO-3G"), "method.basis: expected a basis that has U, got 'STO-3G', which has H to Xe"),
        (
            (53,),
            Method(basis="def2-SVP"),
            "method.basis: expected a basis for all electrons of I, 'def2-SVP' replaces 28",
        ),
        (
            (55,),
            Method(basis="x2c-SVPall", auxiliary_basis="dgauss-a1-dftjfit"),
            "method.auxiliary_basis: expected a basis that has Cs, got 'dgauss-a1-dftjfit', which has H to ",
        ),
        ((2,), Method(basis="STO-3G"), "method.basis: expected a basis with orbitals for 2 electrons of one spin in x"),
    ],
)
def test_an_element_that_a_basis_lacks_is_one_line(numbers, method, sentence, no_field):
    spin = 2 if numbers == (2,) else sum(numbers) % 2
    with pytest.raises(StudyFileError) as error:
        calculate(Structure("x", numbers, np.zeros((1, 3)), spin=spin), method)
    assert str(error.value).startswith(sentence)


_NAN = np.array([[0.1, 0.0, 0.2], [0.86, np.nan, 0.1], [-0.62, 0.61, 0.32]])
_SAME = np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [0.1, 0.0, 0.2]])


@pytest.mark.parametrize(
    ("structure", "sentence"),
    [
        (
            Structure("odd", (8, 1, 1), WATER.positions, spin=1),
            "expected as many unpaired electrons as 10 electrons allow, odd has 1",
        ),
        (
            Structure("odd", (8, 1), WATER.positions[:2]),
            "expected as many unpaired electrons as 9 electrons allow, odd has 0",
        ),
        (
            Structure("bare", (1,), np.zeros((1, 3)), charge=1),
            "expected as many unpaired electrons as 0 electrons allow",
        ),
        (Structure("bad", (8, 1, 1), _NAN), "expected finite coordinates, atom 1 of bad is at [0.86, nan, 0.1]"),
        (Structure("two", (8, 1, 1), _SAME), "expected atoms at least 0.1 Å apart, atoms 0 and 2 of two are 0 Å apart"),
        (Structure("ghost", (0,), np.zeros((1, 3))), "expected atomic numbers of 1 to 118, ghost has an atom of 0"),
        (Structure("none", (), np.zeros((0, 3))), "expected x, y, z of each atom, none has 0 atoms and positions of"),
    ],
)
def test_a_structure_that_cannot_be_computed_is_one_line_before_any_field(structure, sentence, no_field):
    for attempt in (
        lambda: calculate(structure, HARTREE_FOCK),
        lambda: reference_basis([WATER, structure], HARTREE_FOCK),
    ):
        with pytest.raises(DataError) as error:
            attempt()
        assert str(error.value).startswith(sentence)
        assert "\n" not in str(error.value)


@pytest.fixture
def no_field(monkeypatch):
    """No self-consistent field may be started."""

    def started(field):
        pytest.fail("a field was started")

    monkeypatch.setattr(calculation, "converge", started)
    monkeypatch.setattr(scf.hf.SCF, "kernel", started)
