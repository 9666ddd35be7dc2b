"""`tesseral predict`: an arm's trials predict a file, and are compared with its labels."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from typer.testing import CliRunner

from tesseral.cluster.commands.app import app
from tesseral.cluster.data.imports import import_mapping
from tesseral.models import load
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError, RecordError, StudyFileError, TesseralError
from tesseral.study.parsing.units import HARTREE
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tests.support.periodic_structures import labelled
from tests.support.synthetic_properties import property_reference
from tests.support.trained_study import ARMS, train_study


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    train_study(folder, "forces")
    frames = []
    for row in property_reference(5, seed=3).table.to_pylist():
        atoms = Atoms(row["atomic_numbers"], row["positions"])
        forces = np.array(row["forces"]) * HARTREE / BOHR
        atoms.calc = SinglePointCalculator(atoms, energy=row["energy"] * HARTREE, forces=forces)
        frames.append(atoms)
    write(folder / "new.xyz", frames, format="extxyz")
    return folder


def predict(storage, *words: object):
    return CliRunner().invoke(app, ["predict", "trained", *map(str, words), "--storage", str(storage)])


def refused(done, sentence: str, error: type[TesseralError] = DataError) -> None:
    with pytest.raises(error, match=sentence):
        raise done.exception


def trials(storage, arm: str) -> list[str]:
    return [entry.id for entry in Ledger(Store(storage).child("trained")).entries() if entry.plan["arm"] == arm]


def test_an_arm_predicts_the_mean_of_its_trials_and_their_spread(storage, tmp_path):
    done = predict(storage, ARMS[1], storage / "new.xyz", "-o", tmp_path / "out.xyz", "--batch", 2, "--json")
    assert done.exit_code == 0, done.output
    tree = json.loads(done.stdout)
    assert sorted(tree["trials"]) == sorted(trials(storage, ARMS[1]))
    given, written = (read(path, index=":") for path in (storage / "new.xyz", tmp_path / "out.xyz"))
    models = [load(storage, "trained", trial) for trial in trials(storage, ARMS[1])]
    for before, after in zip(given, written, strict=True):
        molecule = Structure("x", tuple(before.numbers), before.positions)
        forces = [HARTREE / BOHR * model.predict([molecule])[0]["forces"] for model in models]
        np.testing.assert_allclose(after.get_forces(), np.mean(forces, axis=0), atol=2e-6)
        np.testing.assert_allclose(after.arrays["forces_spread"], np.std(forces, axis=0, ddof=1), atol=2e-6)
    difference = np.concatenate([b.get_forces() - a.get_forces() for a, b in zip(given, written, strict=True)])
    errors = {(each["column"], each["of"]): each for each in tree["errors"]}
    assert errors["forces", "mean"]["components_mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-4)
    assert errors["forces", "mean"]["norm_mae"] == pytest.approx(np.linalg.norm(difference, axis=1).mean(), rel=1e-4)
    assert errors["forces", "mean"]["unit"] == "eV/Å"
    # The error of a mean is at most the mean of the errors.
    assert errors["forces", "mean"]["norm_mae"] <= errors["forces", "each"]["norm_mae"]
    energies = np.array(
        [(b.get_potential_energy() - a.get_potential_energy()) / len(a) for a, b in zip(given, written, strict=True)]
    )
    assert errors["energy per atom", "mean"]["components_mae"] == pytest.approx(np.abs(energies).mean(), rel=1e-4)


def test_crystals_are_written_with_a_stress_whose_six_components_are_compared(storage, tmp_path):
    write(tmp_path / "cells.xyz", [labelled(seed) for seed in range(2)], format="extxyz")
    done = predict(storage, ARMS[1], tmp_path / "cells.xyz", "-o", tmp_path / "out.xyz", "--json")
    assert done.exit_code == 0, done.output
    given, written = (read(path, index=":") for path in (tmp_path / "cells.xyz", tmp_path / "out.xyz"))
    difference = np.array([b.get_stress() - a.get_stress() for a, b in zip(given, written, strict=True)])
    errors = {each["column"]: each for each in json.loads(done.stdout)["errors"] if each["of"] == "mean"}
    assert (errors["stress"]["unit"], errors["stress"]["frames"]) == ("eV/Å³", 2)
    assert errors["stress"]["components_mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-4)
    norms = np.sqrt((difference**2) @ [1, 1, 1, 2, 2, 2])
    assert errors["stress"]["norm_mae"] == pytest.approx(norms.mean(), rel=1e-4)
    assert all(atoms.pbc.all() for atoms in written)


def test_one_trial_predicts_and_says_how_far_it_is_from_the_labels(storage, tmp_path):
    (trial, _) = trials(storage, ARMS[0])
    done = predict(storage, trial[:8], storage / "new.xyz", "-o", tmp_path / "out.xyz")
    assert done.exit_code == 0, done.output
    assert f"5 structures predicted by trial {trial[:10]}, written to" in done.output
    assert "forces, eV/Å" in done.output
    assert "forces_spread" not in read(tmp_path / "out.xyz").arrays


IONS = """
[reference]
name = "ions"
[source]
file = "ions.xyz"
unit = "bohr"
charge = "q"
ignore_cell = true
[[labels]]
name = "D"
column = "dipole"
unit = "e bohr"
origin = "nuclear_charge"
"""


@pytest.fixture(scope="module")
def ions(tmp_path_factory):
    """A study of one arm on ions that were imported from a file in bohr, whose cells say nothing."""
    folder = tmp_path_factory.mktemp("ions")
    frames = []
    for row in property_reference(24, charged=True).table.to_pylist():
        info = {"D": row["dipole"], "q": 2 * row["charge"]}
        positions = np.array(row["positions"]) / BOHR
        frames.append(Atoms(row["atomic_numbers"], positions, info=info, cell=[9, 9, 9], pbc=True))
    write(folder / "ions.xyz", frames, format="extxyz")
    (folder / "ions.toml").write_text(IONS)
    import_mapping(folder / "ions.toml", str(folder))
    train_study(folder, "dipole", orders=(1,), data="ions")
    return folder


def test_the_file_that_was_imported_is_read_as_it_was_imported(ions, tmp_path):
    """By the mapping that the data keep, but for the unit, which is asked for: the charge's key, and no cell."""
    refused(predict(ions, ions / "ions.xyz"), "expected --unit of the file, angstrom or bohr: the trial's data")
    out = tmp_path / "out.xyz"
    done = predict(ions, ions / "ions.xyz", "--unit", "bohr", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    tree = json.loads(done.stdout)
    models = [load(ions, "trained", trial) for trial in trials(ions, ARMS[1])]
    rows = property_reference(24, charged=True).table.to_pylist()
    misses = []
    for row, after in zip(rows, read(out, index=":"), strict=True):
        np.testing.assert_allclose(after.positions, row["positions"], atol=1e-7)
        numbers, positions = tuple(row["atomic_numbers"]), np.array(row["positions"])
        molecule = Structure("x", numbers, positions, 2 * row["charge"])
        dipole = np.mean([model.predict([molecule])[0]["dipole"] for model in models], axis=0)
        np.testing.assert_allclose(after.get_dipole_moment(), BOHR * dipole, atol=2e-6)
        assert not after.pbc.any()
        misses.append(BOHR * (dipole - row["dipole"]))
    error = next(each for each in tree["errors"] if each["of"] == "mean")
    assert error["components_mae"] == pytest.approx(np.abs(misses).mean(), rel=1e-4)
    neutral = json.loads(predict(ions, ions / "ions.xyz", "--unit", "bohr", "--charge", 0, "--json").stdout)
    assert neutral["errors"] != tree["errors"]


def test_a_file_of_another_form_needs_a_mapping_or_a_charge(ions, tmp_path):
    other = tmp_path / "other.xyz"
    write(other, [Atoms("OHH", property_reference(1).table["positions"].to_pylist()[0])], format="extxyz")
    refused(
        predict(ions, other, "--unit", "angstrom"),
        "expected a whole number under q, frame 0 of .* has none; --charge states it instead",
    )
    plain = tmp_path / "plain.toml"
    plain.write_text(IONS.replace('unit = "bohr"\ncharge = "q"\n', ""))
    mapped = predict(ions, other, "--mapping", plain, "-o", tmp_path / "mapped.xyz")
    assert "1 structure predicted by 2 trials, written to" in mapped.output, "the only arm need not be named"
    taken = predict(ions, other, "--unit", "angstrom", "--charge", 0, "-o", tmp_path / "taken.xyz")
    assert taken.exit_code == 0, taken.output
    assert (tmp_path / "taken.xyz").read_bytes() == (tmp_path / "mapped.xyz").read_bytes()


def test_what_cannot_be_predicted_is_one_sentence(storage, tmp_path):
    here = storage / "new.xyz"
    refused(
        predict(storage, here), "expected a trial or an arm of trained, got none; arms are: lmax=0; lmax=1", RecordError
    )
    refused(predict(storage, "lmax=7", here), "or an arm, got 'lmax=7', .*; arms are: lmax=0; lmax=1", RecordError)
    refused(predict(storage, ARMS[0], here, "--cube", tmp_path), "expected a trial that predicts the density with")
    refused(predict(storage, ARMS[0], here, "-o", here), "expected another file to write")
    unknown = r"a study started in .*, got 'nosuch'; there are: trained$"
    for words in (("predict", "nosuch", here), ("export", "nosuch", "3f", "--weights", tmp_path / "m.pt2")):
        done = CliRunner().invoke(app, [*map(str, words), "--storage", str(storage)])
        refused(done, unknown, StudyFileError)
    with pytest.raises(StudyFileError, match=unknown):
        load(storage, "nosuch", "3f")
    write(tmp_path / "n2.xyz", [Atoms("OHH", np.eye(3)), Atoms("N2", np.eye(3)[:2])], format="extxyz")
    out = tmp_path / "out.xyz"
    refused(predict(storage, ARMS[0], tmp_path / "n2.xyz", "-o", out), r"frame 1 of .*n2\.xyz: expected the elements")
    assert not list(tmp_path.glob("*out.xyz*"))
