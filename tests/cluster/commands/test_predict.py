"""`tesseral predict`: an arm's trials predict a file, and are compared with its labels."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from typer.testing import CliRunner

from tesseral.cluster.commands.app import app
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
