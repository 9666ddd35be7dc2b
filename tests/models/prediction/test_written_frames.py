"""What is written is what ASE reads: its keys and units, the mean of several models and their spread."""

import ase.units
import numpy as np
import pytest
from ase.io import read, write

from tesseral.models.prediction.predicted_frames import PredictedFrame
from tesseral.models.prediction.written_frames import write_frame
from tesseral.models.reference.exchange.extended_xyz import read_frames
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.quantities import QUANTITIES
from tests.support.periodic_structures import labelled, periodic_row
from tests.support.synthetic_density import WATER


def written(tmp_path, quantity: str, *members: dict):
    lines = [f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in zip("OHH", WATER, strict=True)]
    (tmp_path / "in.xyz").write_text("\n".join(["3", 'name=w1 energy=5 note="two words"', *lines, ""]))
    frame = next(read_frames(tmp_path / "in.xyz"))
    predicted = PredictedFrame(frame, Structure("w", (8, 1, 1), WATER), members)
    with (tmp_path / "out.xyz").open("w") as file:
        write_frame(file, predicted, QUANTITIES[quantity])
        write_frame(file, predicted, QUANTITIES[quantity])
    first, second = read(tmp_path / "out.xyz", index=":")
    assert first == second
    return first


def test_energies_and_forces_have_the_keys_and_units_of_ase(tmp_path):
    members = [{"energy": np.array([e]), "forces": np.full((3, 3), f)} for e, f in ((-1.0, 0.1), (-1.2, 0.3))]
    atoms = written(tmp_path, "forces", *members)
    assert atoms.get_potential_energy() == pytest.approx(-1.1 * ase.units.Hartree, rel=1e-7)
    np.testing.assert_allclose(atoms.get_forces(), 0.2 * ase.units.Hartree / ase.units.Bohr, rtol=1e-6)
    assert atoms.info["energy_spread"] == pytest.approx(0.02**0.5 * ase.units.Hartree, rel=1e-7)
    np.testing.assert_allclose(atoms.arrays["forces_spread"], 0.02**0.5 * ase.units.Hartree / ase.units.Bohr, rtol=1e-6)
    assert atoms.info["note"] == "two words"
    np.testing.assert_allclose(atoms.positions, WATER, atol=1e-8)


def test_a_periodic_frame_keeps_its_cell_and_has_a_stress(tmp_path):
    """As ASE reads it, in Voigt's order; a vector that does not repeat is completed for the file alone."""
    write(tmp_path / "in.xyz", labelled(0), format="extxyz")
    frame = next(read_frames(tmp_path / "in.xyz"))
    row = periodic_row(0)
    members = ({name: np.array(row[name]) for name in ("energy", "forces", "stress")},)
    for cell, pbc in ((frame.cell, [True] * 3), (frame.cell * np.array([[1.0], [0.0], [1.0]]), [True, False, True])):
        structure = Structure("c", frame.atomic_numbers, frame.positions, cell=cell)
        with (tmp_path / "out.xyz").open("w") as file:
            write_frame(file, PredictedFrame(frame, structure, members), QUANTITIES["forces"])
        atoms = read(tmp_path / "out.xyz")
        assert atoms.pbc.tolist() == pbc
        np.testing.assert_allclose(atoms.cell.array[pbc], frame.cell[pbc], atol=1e-7)
        np.testing.assert_allclose(atoms.get_stress(), labelled(0).get_stress(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), labelled(0).get_forces(), atol=1e-6)


def test_a_polarizability_is_a_matrix_and_a_dipole_in_e_angstrom(tmp_path):
    atoms = written(tmp_path, "polarizability", {"polarizability": np.array([3**0.5, 0, 0, 0, 0, 0])})
    np.testing.assert_allclose(atoms.info["polarizability"], np.eye(3), atol=1e-12)
    assert "polarizability_spread" not in atoms.info
    atoms = written(tmp_path, "dipole", {"dipole": np.array([1.0, 0.0, 2.0])})
    np.testing.assert_allclose(atoms.get_dipole_moment(), [ase.units.Bohr, 0, 2 * ase.units.Bohr], rtol=1e-7)
    atoms = written(tmp_path, "dipole_magnitude", {"dipole_magnitude": np.array([2.0])})
    assert atoms.info["dipole_magnitude"] == pytest.approx(2 * ase.units.Bohr, rel=1e-7)
