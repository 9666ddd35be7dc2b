"""The closed form of the Coulomb matrix, against PySCF and by quadrature; the loss made of it."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from tesseral.models.data.data_set import DataSet
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.density.coulomb import coulomb_matrix
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, e3nn_rotation
from tesseral.models.targets.loss import CoulombLoss
from tesseral.models.training.training import train
from tesseral.study.constants import BOHR
from tests.support.synthetic_density import BASIS, Memory, small_configuration, synthetic_reference, synthetic_trial

NUMBERS = [8, 1, 1, 8, 1, 1]
POSITIONS = np.array(
    [[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [2.4, 1.3, 0.8], [2.9, 2.0, 1.2], [1.7, 1.6, 0.2]],
)


@pytest.mark.parametrize("decontracted", [True, False])
def test_the_matrix_is_pyscfs(decontracted):
    """def2-universal-jfit, l = 0 to 4, also with atoms so far apart that no Gaussians meet."""
    shells = {number: auxiliary_shells(number, "def2-universal-jfit", decontracted) for number in (1, 8)}
    basis = AuxiliaryBasis("jfit", shells)
    for stretch in (1.0, 25.0):
        positions = POSITIONS + np.repeat([[0.0], [stretch - 1]], 3, axis=0)
        molecule = auxiliary_molecule(shells, NUMBERS, positions)
        rotation = e3nn_rotation(molecule)
        expected = rotation @ molecule.intor("int2c2e") @ rotation.T
        matrix = coulomb_matrix(basis, NUMBERS, positions)
        assert np.abs(matrix - expected).max() < 1e-12 * np.abs(expected).max()
        assert np.array_equal(matrix, matrix.T)


def test_two_charges_far_and_near():
    """∫∫χχ′/r = q q′ erf(√p R)/R of two s functions; at one place 2√(p/π) q q′."""
    basis = AuxiliaryBasis("s", {1: (Shell(0, (0.7,), (1.0,)),), 2: (Shell(0, (1.9,), (1.0,)),)})
    product = basis.shells[1][0].charge * basis.shells[2][0].charge
    p = 0.7 * 1.9 / (0.7 + 1.9)
    for distance in (1e-5, 0.3, 2.0, 40.0):  # bohr
        positions = np.array([[0.0, 0, 0], [0, distance * BOHR, 0]])
        repulsion = coulomb_matrix(basis, [1, 2], positions)[0, 1]
        assert repulsion == pytest.approx(product * erf(p**0.5 * distance) / distance, rel=1e-9)
    repulsion = coulomb_matrix(basis, [1, 2], np.zeros((2, 3)))[0, 1]
    assert repulsion == pytest.approx(product * 2 * (p / np.pi) ** 0.5, rel=1e-12)


def test_the_loss_is_the_self_repulsion_of_the_error():
    reference = synthetic_reference(3)
    data = DataSet(reference, small_configuration().network, torch.float64, torch.device("cpu"), coulomb=True)
    batch = data.batch([0, 1, 2])
    error = torch.zeros_like(batch.values)
    generator = torch.Generator().manual_seed(0)
    error.view(-1)[batch.filled] = torch.randn(batch.filled.shape, dtype=torch.float64, generator=generator)
    repulsions = []
    for index, row in enumerate(reference.table.to_pylist()):
        atoms = error[batch.graph.structure == index]
        vector = np.concatenate(
            [part.numpy()[BASIS.columns(n)] for n, part in zip(row["atomic_numbers"], atoms, strict=True)]
        )
        matrix = coulomb_matrix(BASIS, row["atomic_numbers"], np.array(row["positions"]))
        assert np.linalg.eigvalsh(matrix).min() > 0
        repulsions.append(vector @ matrix @ vector)
    assert float(CoulombLoss()(error, batch)) == pytest.approx(np.mean(repulsions), rel=1e-12)


def test_it_learns_and_goes_on():
    """The loss falls; from a checkpoint every bit is repeated; other losses hold no such matrix."""
    reference = synthetic_reference()
    trial = synthetic_trial(reference, small_configuration(loss="coulomb", epochs=20))
    memory, rest = Memory(), Memory()
    result = train(trial, reference, memory, device="cpu", test=False)
    losses = [row["value"] for row in memory.curve_rows if row["metric"] == "loss"]
    assert losses[-1] < 0.5 * losses[0]
    again = train(trial, reference, rest, device="cpu", test=False, checkpoint=memory.states[54])
    assert again.metrics == result.metrics
    plain = DataSet(reference, trial.configuration.network, torch.float32, torch.device("cpu"))
    assert plain.structures[0].coulomb is None
