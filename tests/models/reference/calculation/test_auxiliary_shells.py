"""Auxiliary bases from PySCF, from the Basis Set Exchange, and made from the orbital basis."""

import numpy as np
import pytest
from pyscf import gto

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells, method_shells
from tesseral.models.reference.calculation.calculation import calculate
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule
from tesseral.models.reference.structure import Structure
from tesseral.study.recipe.method import Method

WATER = Structure("water", (8, 1, 1), np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]))


def test_decontracted_shells_are_the_published_ones():
    shells = {number: auxiliary_shells(number, "def2-universal-jfit", True) for number in (1, 8)}
    layout = AuxiliaryBasis("jfit", shells).layout
    assert [term.mul for term in layout] == [12, 5, 4, 2, 1]
    assert [sum(shell.l == order for shell in shells[1]) for order in range(3)] == [5, 2, 1]
    for one in shells.values():
        order = [(shell.l, -shell.exponents[0]) for shell in one]
        assert order == sorted(order)
        assert all(shell.coefficients == (1.0,) for shell in one)


@pytest.mark.parametrize("decontracted", [True, False])
def test_pyscf_keeps_our_order_of_shells_and_their_norm(decontracted):
    shells = {8: auxiliary_shells(8, "def2-universal-jfit", decontracted)}
    molecule = auxiliary_molecule(shells, [8], np.zeros((1, 3)))
    shells_found = [(molecule.bas_angular(i), *molecule.bas_exp(i)) for i in range(molecule.nbas)]
    assert shells_found == [(shell.l, *shell.exponents) for shell in shells[8]]
    np.testing.assert_allclose(np.diag(molecule.intor("int1e_ovlp")), 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "decontracted", "label", "largest"),
    [
        ("def2-universal-jfit", False, "def2-universal-jfit", 1.7),
        ("def2-universal-jkfit", True, "def2-universal-jkfit, decontracted", 1.1),
        ("dgauss-a1-dftjfit", False, "dgauss-a1-dftjfit", 9.5),
        ("even-tempered", True, "even-tempered of def2-SVP", 1.1),
        ("even-tempered", False, "even-tempered of def2-SVP", 1.1),
        ("AutoAux", True, "autoaux of def2-SVP", 1.5),
    ],
)
@pytest.mark.parametrize("metric", ["coulomb", "overlap"])
def test_auxiliary_bases_of_every_source(name, decontracted, label, largest, metric):
    method = Method(method="HF", auxiliary_basis=name, decontracted=decontracted, metric=metric)
    row = calculate(WATER, method)
    assert row["auxiliary_basis"] == label
    assert 0.1 < row["fit_error"] < largest * (1.5 if metric == "overlap" else 1)
    assert row["electrons"] == pytest.approx(10, abs=1e-8)
    sizes = [sum(2 * shell.l + 1 for shell in method_shells(number, method)) for number in WATER.atomic_numbers]
    assert [len(part) for part in row["coefficients"]] == sizes


def test_one_basis_is_the_exchanges_alone():
    """So that the table above has tried both libraries."""
    assert gto.basis._format_basis_name("dgauss-a1-dftjfit") not in gto.basis.ALIAS
    assert gto.basis._format_basis_name("def2-universal-jfit") in gto.basis.ALIAS
