"""Dynamics of a model that was trained on forces of PySCF: energy is conserved, to the square of the time step."""

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.md.verlet import VelocityVerlet

from tesseral.cluster.data.recipe_run import inline, run_recipe
from tesseral.models.data.reference_file import read_reference
from tesseral.models.prediction.calculator import TrainedCalculator
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden, Network
from tesseral.study.configuration.target import Target
from tesseral.study.configuration.training import Training
from tesseral.study.recipe.recipe import read_recipe
from tests.support.synthetic_density import Memory, synthetic_trial

RECIPE = """
[reference]
name = "water"
[[structures]]
kind = "displacements"
name = "water"
elements = ["O", "H", "H"]
positions = [[0.0, 0.0, 0.1], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]
method = "HF"
basis = "STO-3G"
temperature = 300.0
count = 16
[method]
method = "HF"
basis = "STO-3G"
auxiliary_basis = "def2-universal-jfit"
quantities = ["forces"]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[TrainedCalculator, Atoms]:
    """The calculator of a model that learnt some of the forces, and water as the data have it."""
    folder = tmp_path_factory.mktemp("dynamics")
    (folder / "water.toml").write_text(RECIPE)
    location, _ = run_recipe(read_recipe(folder / "water.toml"), str(folder), inline)
    reference = read_reference(location)
    configuration = Configuration(
        data=Data(reference="reference/water.parquet", train=12, validation=2, test=2),
        network=Network(
            hidden=Hidden(irreps="8x0e+4x1o"),
            layers=2,
            harmonics_lmax=1,
            radial_functions=6,
            radial_width=8,
            radial_envelope="polynomial",
        ),
        target=Target(quantity="forces"),
        training=Training(epochs=40, batch_size=6, learning_rate=2e-2, dtype="float64"),
    ).resolved()
    trial, memory = synthetic_trial(reference, configuration), Memory()
    outcome = train(trial, reference, memory, device="cpu")
    assert outcome.metrics["test.relative_error"] < 80
    content = memory.states[max(memory.states)]
    model = TrainedModel(restore_model(content, trial, reference), trial, reference)
    row = reference.table.slice(0, 1).to_pylist()[0]
    return model.calculator(), Atoms(row["atomic_numbers"], row["positions"])


def energies(trained: tuple[TrainedCalculator, Atoms], step: float, length: float = 60.0) -> np.ndarray:
    """Total energies over some fs from 300 K, eV, at times that all steps share."""
    calculator, atoms = trained
    atoms = atoms.copy()
    atoms.calc = calculator
    scale = np.sqrt(atoms.get_masses() * ase.units.kB * 300)[:, None]
    atoms.set_momenta(scale * np.random.default_rng(3).normal(size=(len(atoms), 3)))
    dynamics, found = VelocityVerlet(atoms, step * ase.units.fs), []
    dynamics.attach(lambda: found.append(atoms.get_total_energy()), interval=round(0.5 / step))
    dynamics.run(round(length / step))
    return np.array(found)


@pytest.mark.long
def test_energy_is_conserved_to_the_square_of_the_time_step(trained):
    """The fluctuation of velocity Verlet is a quarter for half the step, and no drift is seen beside it.

    60 fs are six periods of the stretching vibrations. A force that is no gradient would leave a drift of its own,
    whatever the step.
    """
    coarse, fine = energies(trained, 0.5), energies(trained, 0.25)
    assert fine.std() / coarse.std() == pytest.approx(0.25, abs=0.03)
    for found in (coarse, fine):
        drift = np.polynomial.polynomial.polyfit(np.linspace(-0.5, 0.5, len(found)), found, 1)[1]
        assert abs(drift) < found.std()
