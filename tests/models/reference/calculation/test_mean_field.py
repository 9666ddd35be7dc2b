"""Self-consistent fields that converge, do not, or are fitted, and their orbital energies."""

import numpy as np
import pytest
from pyscf import gto, scf

from tesseral.models.reference.calculation import calculation, mean_field
from tesseral.models.reference.calculation.calculation import calculate
from tesseral.models.reference.structure import Structure
from tesseral.study.recipe.method import Method

WATER = Structure("water", (8, 1, 1), np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]))
HARTREE_FOCK = Method(method="HF", basis="def2-SVP")


def test_a_field_that_does_not_converge_is_a_row_that_says_so():
    """One cycle, and one second-order step, are not enough; what only a converged field has is left null."""
    row = calculate(WATER, Method(method="HF", basis="def2-SVP", max_cycle=1, quantities=("forces", "polarizability")))
    assert row["converged"] is False
    assert row["cycles"] == 2
    assert row["electrons"] == pytest.approx(10, abs=1e-9)
    assert "forces" not in row
    assert "polarizability" not in row


def test_second_order_steps_go_on_where_diis_stops():
    """Six cycles are too few for DIIS; quadratic ones after them reach the same field."""
    row, whole = (calculate(WATER, Method(method="HF", basis="STO-3G", max_cycle=cycles)) for cycles in (6, 50))
    assert row["converged"]
    assert 6 < row["cycles"] <= 12
    assert row["energy"] == pytest.approx(whole["energy"], abs=1e-9)
    for key in ("homo", "lumo", "r2"):
        assert row[key] == pytest.approx(whole[key], abs=1e-6)


def test_a_field_that_breaks_down_is_a_row_without_quantities(monkeypatch):
    def singular(field):
        raise np.linalg.LinAlgError("leading minor not positive definite")

    monkeypatch.setattr(calculation, "converge", singular)
    row = calculate(WATER, HARTREE_FOCK)
    assert row["converged"] is False
    assert row["id"] == "water"
    assert "energy" not in row
    assert "coefficients" not in row


def test_orbital_energies_and_extent_are_those_of_plain_pyscf():
    """Of both spins together: the highest occupied is the radical's α, the lowest empty its β."""
    radical = Structure("hydroxyl", (8, 1), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]), spin=1)
    row = calculate(radical, HARTREE_FOCK)
    field = scf.UHF(gto.M(atom="O 0 0 0; H 0 0 0.97", basis="def2-svp", spin=1, verbose=0)).run(conv_tol=1e-12)
    assert row["homo"] == pytest.approx(max(field.mo_energy[0][4], field.mo_energy[1][3]), abs=1e-6)
    assert row["lumo"] == pytest.approx(min(field.mo_energy[0][5], field.mo_energy[1][4]), abs=1e-6)
    assert row["gap"] == row["lumo"] - row["homo"] > 0
    helium = calculate(Structure("he", (2,), np.zeros((1, 3))), Method(method="HF", basis="STO-3G"))
    assert helium["lumo"] is None  # one orbital, and it is full
    assert helium["gap"] is None


def test_density_fitting_is_automatic_from_a_number_of_orbitals_on(monkeypatch):
    def fitted(**options) -> bool:
        method = Method(method="HF", basis="STO-3G", **options)
        return hasattr(mean_field.mean_field(mean_field.molecule(WATER, method), method), "with_df")

    assert not fitted()
    assert fitted(density_fitting=True)
    monkeypatch.setattr(mean_field, "DENSITY_FITTING_ORBITALS", 7)
    assert fitted()
    assert not fitted(density_fitting=False)


def test_density_fitting_costs_little():
    """Some 1e-5 hartree an atom, and the self-repulsion of the density is still measured by exact integrals."""
    exact, fitted = (calculate(WATER, Method(method="HF", density_fitting=choice)) for choice in (False, True))
    assert 0 < abs(fitted["energy"] - exact["energy"]) < 1e-4
    assert fitted["self_repulsion_error"] == pytest.approx(exact["self_repulsion_error"], abs=1e-5)
    np.testing.assert_allclose(fitted["dipole"], exact["dipole"], atol=1e-3)


@pytest.mark.parametrize("fitted", [False, True])
def test_less_memory_changes_no_number(fitted):
    """With 100 megabytes the integrals are not kept, and computed again in each cycle."""
    row, small = (
        calculate(WATER, Method(method="HF", basis="STO-3G", density_fitting=fitted, max_memory=memory))
        for memory in (8000, 100)
    )
    for key in ("energy", "r2", "self_repulsion_error"):
        assert small[key] == pytest.approx(row[key], abs=1e-7)
    assert repr(Method(max_memory=100)) == repr(Method())
