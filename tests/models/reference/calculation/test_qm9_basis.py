"""QM9's basis: the dipole and energies of QM9's own water, from its published record (`gdb 3`)."""

import numpy as np
import pytest
from pyscf import dft, gto

from tesseral.models.reference.calculation.basis_set import load_orbital_basis
from tesseral.models.reference.calculation.qm9_basis import qm9_basis
from tesseral.study.errors import StudyFileError

WATER = """
O -0.0343604951 0.9775395708 0.0076015923
H 0.0647664923 0.0205721989 0.0015346341
H 0.8717903737 1.3007924048 0.0006931336
"""
"""Geometry in Å; its dipole is 1.8511 D, its highest occupied orbital at -0.2928 hartree."""


def water(name: str) -> dft.RKS:
    basis = {symbol: load_orbital_basis(name, symbol) for symbol in "OH"}
    field = dft.RKS(gto.M(atom=WATER, basis=basis, verbose=0), xc="b3lypg")  # with VWN3, as Gaussian has it
    field.kernel()
    return field


@pytest.mark.parametrize(
    ("name", "dipole"), [("6-31G(2df,p)-QM9", 1.855), ("6-31g(2df,p)_qm9", 1.855), ("6-31G(2df,p)", 1.980)]
)
def test_the_dipole_of_water(name, dipole):
    field = water(name)
    assert np.linalg.norm(field.dip_moment(unit="Debye", verbose=0)) == pytest.approx(dipole, abs=1e-3)
    if "qm9" in name.lower():
        assert dipole == pytest.approx(1.8511, rel=0.003), "of QM9, with six d functions"
        assert field.mo_energy[field.mo_occ > 0].max() == pytest.approx(-0.2928, abs=1e-4)


def test_it_has_the_elements_of_qm9():
    assert [symbol for symbol in ("H", "He", "C", "N", "O", "F", "P", "S") if qm9_basis(symbol)] == list("HCNOF")
    with pytest.raises(StudyFileError, match=r"expected a basis that has S, got .*, which has H, C to F"):
        load_orbital_basis("6-31G(2df,p)-QM9", "S")
