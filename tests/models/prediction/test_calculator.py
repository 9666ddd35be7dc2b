"""The calculator: forces are the gradient of the energy, and dynamics conserve it."""

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet

from tesseral.models.reference.structure import Structure
from tesseral.study.errors import DataError, StudyFileError
from tests.support.periodic_structures import CELL, NUMBERS, PLACES
from tests.support.synthetic_density import WATER
from tests.support.trained_model import trained_model


def water(calculator) -> Atoms:
    atoms = Atoms("OHHOHH", np.concatenate([WATER, WATER + np.array([2.7, 0.3, 0.1])]))
    atoms.calc = calculator
    return atoms


@pytest.mark.parametrize("quantity", ["forces", "energy"])
def test_forces_are_minus_the_gradient_of_the_energy(quantity):
    atoms = water(trained_model(quantity, dtype="float64").calculator())
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    assert np.abs(numerical).max() > 1e-3
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-5)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def drift(step: float) -> float:
    """Largest deviation of the total energy over 25 fs from 150 K, meV an atom, with a step in fs."""
    atoms = water(trained_model("forces", dtype="float64").calculator())
    scale = np.sqrt(atoms.get_masses() * ase.units.kB * 150)[:, None]
    atoms.set_momenta(scale * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    dynamics, energies = VelocityVerlet(atoms, step * ase.units.fs), []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(round(25 / step))
    return 1000 * np.ptp(energies) / len(atoms)


def test_dynamics_at_constant_energy_conserve_it():
    """The error of velocity Verlet falls with the square of its step; forces that are no gradient leave a drift."""
    coarse, fine = drift(0.5), drift(0.25)
    assert fine < 0.35 * coarse < 1.0


def test_a_dipole_is_that_of_the_model_in_e_angstrom():
    model = trained_model("dipole", charged=True)
    for charge in (0, 1):
        atoms = Atoms("OHH", WATER + 4.0, info={"charge": charge})
        atoms.calc = model.calculator()
        expected = model.predict([Structure("w", (8, 1, 1), WATER, charge)])[0]["dipole"] * ase.units.Bohr
        np.testing.assert_allclose(atoms.get_dipole_moment(), expected, atol=1e-5)


def stating(way: str, charge: int) -> Atoms:
    """A molecule that states its charge in one of the ways of ASE."""
    atoms = Atoms("OHH", WATER)
    if way == "initial charges":
        atoms.set_initial_charges([charge - 0.4, 0.2, 0.2])
    else:
        atoms.info[way] = charge
    return atoms


@pytest.mark.parametrize("way", ["charge", "total_charge", "initial charges"])
def test_a_charge_counts_however_it_is_stated_and_when_it_changes(way):
    model = trained_model("dipole", charged=True)
    expected = [
        model.predict([Structure("w", (8, 1, 1), WATER, charge)])[0]["dipole"] * ase.units.Bohr for charge in (0, 1)
    ]
    assert np.abs(expected[1] - expected[0]).max() > 1e-3
    calculator = model.calculator()
    for charge in (0, 1, 0):
        atoms = stating(way, charge)
        atoms.calc = calculator
        np.testing.assert_allclose(atoms.get_dipole_moment(), expected[charge], atol=1e-5)
    calculator.set(charge=1)
    np.testing.assert_allclose(atoms.get_dipole_moment(), expected[1], atol=1e-5)


def test_charges_that_contradict_each_other_or_are_no_whole_number_are_refused():
    atoms = Atoms("OHH", WATER, info={"charge": 1, "total_charge": 0}, calculator=trained_model("energy").calculator())
    with pytest.raises(DataError, match=r'got atoms.info\["charge"\] = 1 and atoms.info\["total_charge"\] = 0; calc'):
        atoms.get_potential_energy()
    atoms.info.clear()
    atoms.set_initial_charges([0.5, 0.0, 0.0])
    with pytest.raises(DataError, match=r"expected a whole number as the sum of the initial charges, got 0.5; calc"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("charge", [0.5, "none", [1], float("nan")])
def test_a_charge_that_is_no_whole_number_is_refused(charge):
    atoms = Atoms("OHH", WATER, info={"charge": charge}, calculator=trained_model("energy").calculator())
    with pytest.raises(DataError, match=r'expected a whole number as atoms.info\["charge"\], got .*; calc'):
        atoms.get_potential_energy()


def test_what_it_cannot_calculate_is_one_sentence():
    with pytest.raises(StudyFileError, match=r"one of forces, energy, .*, got one of gap"):
        trained_model("gap").calculator()
    atoms = water(trained_model("dipole").calculator())
    atoms.set_cell([9, 9, 9])
    atoms.pbc = True
    with pytest.raises(DataError, match=r"expected a molecule in empty space, .* for which the dipole has no meaning"):
        atoms.get_dipole_moment()


@pytest.mark.parametrize("quantity", ["forces", "energy"])
def test_forces_and_stress_of_a_crystal_are_derivatives_of_its_energy(quantity):
    """By ASE's own differences; a slab has forces and no stress."""
    atoms = Atoms(NUMBERS, PLACES, cell=CELL, pbc=True)
    atoms.calc = trained_model(quantity, dtype="float64").calculator()
    forces, stress = calculate_numerical_forces(atoms, eps=1e-4), calculate_numerical_stress(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-4 * np.abs(forces).max())
    np.testing.assert_allclose(atoms.get_stress(), stress, rtol=0, atol=1e-4 * np.abs(stress).max())
    assert np.abs(stress).max() > 1e-4
    atoms.pbc = [True, True, False]
    assert np.abs(atoms.get_forces() - forces).max() > 1e-3
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_a_supercell_has_the_same_stress_and_a_box_far_larger_than_the_cutoff_that_of_a_molecule():
    atoms = Atoms(NUMBERS, PLACES, cell=CELL, pbc=True)
    calculator = trained_model("forces", dtype="float64").calculator()
    atoms.calc = calculator
    many = atoms.repeat((2, 1, 2))
    many.calc = calculator
    assert many.get_potential_energy() == pytest.approx(4 * atoms.get_potential_energy(), rel=1e-10)
    np.testing.assert_allclose(many.get_stress(), atoms.get_stress(), rtol=0, atol=1e-10)
    alone, boxed = water(calculator), water(calculator)
    boxed.set_cell([20, 21, 22])
    boxed.pbc = True
    assert boxed.get_potential_energy() == pytest.approx(alone.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(boxed.get_forces(), alone.get_forces(), rtol=0, atol=1e-11)
