"""Periodic structures: their energy, forces and stress are those of the crystal, whatever cell it is written in."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tesseral.models.data import data_set
from tesseral.models.data.data_set import DataSet
from tesseral.models.networks.graph import EdgeBasis, build_graph
from tesseral.models.targets.forces import EnergyForces
from tesseral.models.targets.model import Model, build_model
from tesseral.models.targets.stress import cartesian
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion, Hidden
from tesseral.study.configuration.target import Loss
from tesseral.study.constants import BOHR
from tests.support.periodic_structures import CELL, PLACES, periodic_reference, repeated
from tests.support.synthetic_density import Memory, synthetic_trial
from tests.support.synthetic_properties import property_configuration, property_reference, property_table

CPU = torch.device("cpu")
REFERENCE = periodic_reference()
CONFIGURATION = property_configuration("forces")
SPECIES = torch.tensor([1, 0, 0])


def network_of(**changes: object) -> Configuration:
    return replace(CONFIGURATION, network=replace(CONFIGURATION.network, **changes))


NETWORKS = {
    "gated": CONFIGURATION,
    "fusion": network_of(radial_basis="cosine", fusion=Fusion(diagram="((neighbours edges) centre)", k_max=1)),
    "cormorant": network_of(interaction="cormorant", hidden=Hidden(irreps="4x0e+3x1o"), radial_envelope="polynomial"),
    "mace": network_of(interaction="mace", hidden=Hidden(irreps="4x0e+3x1o"), radial_basis="bessel", embedding=3),
}


def made(configuration: Configuration = CONFIGURATION) -> Model:
    data = DataSet(REFERENCE, configuration.network, torch.float64, CPU, configuration.target)
    model = build_model(configuration, REFERENCE, num_neighbors=20.0, seed=5)
    model.target.standardise(data.structures)
    return model.to(torch.float64)


def predicted(model: Model, configuration: Configuration, cell: np.ndarray | None, places: np.ndarray) -> EnergyForces:
    species, edges = SPECIES.repeat(len(places) // 3), EdgeBasis.from_settings(configuration.network)
    graph = build_graph(species, torch.tensor(places), 2, edges, cell=cell)
    with torch.no_grad():
        return model(graph)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_supercell_has_the_energy_forces_and_stress_of_its_cell(network):
    """Eight times the energy, the same forces on each copy, the same stress; atoms outside the cell change nothing."""
    configuration = NETWORKS[network]
    model = made(configuration)
    assert configuration.network.radial_cutoff > np.linalg.norm(CELL, axis=1).min()
    one = predicted(model, configuration, CELL, PLACES + np.array([1.0, -2.0, 1.0])[:, None] * CELL[0])
    many = predicted(model, configuration, *repeated(CELL, PLACES, (2, 2, 2)))
    baseline = model.target.energy.baseline  # an energy of the atoms, which has no rounding to hide
    assert baseline.abs().max() > 0
    torch.testing.assert_close(many.energy, 8 * one.energy, rtol=1e-11, atol=1e-11)
    assert one.forces.abs().max() > 1e-4
    torch.testing.assert_close(many.forces, one.forces.repeat(8, 1), rtol=0, atol=1e-11)
    assert one.stress.abs().max() > 1e-6
    torch.testing.assert_close(many.stress, one.stress, rtol=0, atol=1e-12)


def test_a_large_cluster_has_the_forces_of_the_crystal_in_its_middle():
    """Forces of two layers reach four cutoffs far: within as many of the surface nothing else differs."""
    configuration = network_of(radial_cutoff=2.2)
    model = made(configuration)
    crystal = predicted(model, configuration, CELL, PLACES)
    times = (7, 7, 7)
    _, places = repeated(CELL, PLACES, times)
    middle = 3 * np.ravel_multi_index((3, 3, 3), times) + np.arange(3)
    far = np.linalg.norm(places[:, None] - places[middle], axis=2).min(axis=1)
    near = np.flatnonzero(far < 4 * 2.2)
    # The ball of those neighbours ends inside the block of 7³ cells.
    assert (np.abs(np.linalg.solve(CELL.T, (places[near] - PLACES.mean(axis=0)).T).T - 3.0) < 3.9).all()
    own = [int(np.flatnonzero(near == index)[0]) for index in middle]
    edges = EdgeBasis.from_settings(configuration.network)
    graph = build_graph(SPECIES.repeat(343)[near], torch.tensor(places[near]), 2, edges)
    with torch.no_grad():
        cluster = model(graph)
    assert cluster.stress is None
    assert crystal.forces.abs().max() > 1e-4
    torch.testing.assert_close(cluster.forces[own], crystal.forces, rtol=0, atol=1e-11)


def differences(energy, step: float = 2e-4) -> float:
    """Central difference of fourth order."""
    values = [energy(shift * step) for shift in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)


@pytest.mark.parametrize("network", NETWORKS)
def test_forces_and_stress_are_derivatives_of_the_energy(network):
    """Of graphs built anew, whose edges come and go at the cutoff; to 2e-6 of the largest."""
    configuration = NETWORKS[network]
    model = made(configuration)
    found = predicted(model, configuration, CELL, PLACES)

    def energy(cell: np.ndarray, places: np.ndarray) -> float:
        return float(predicted(model, configuration, cell, places).energy)

    forces = np.zeros((3, 3))
    for atom, axis in np.ndindex(3, 3):
        unit = np.zeros((3, 3))
        unit[atom, axis] = 1.0
        forces[atom, axis] = -BOHR * differences(lambda shift, unit=unit: energy(CELL, PLACES + shift * unit))
    np.testing.assert_allclose(found.forces, forces, rtol=0, atol=2e-6 * np.abs(forces).max())
    stress = np.zeros((3, 3))
    for one, other in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[one, other] += 0.5
        strain[other, one] += 0.5
        stress[one, other] = differences(
            lambda shift, strain=strain: energy(CELL + shift * CELL @ strain, PLACES + shift * PLACES @ strain)
        )
    stress *= BOHR**3 / abs(np.linalg.det(CELL))
    np.testing.assert_allclose(cartesian(found.stress)[0], stress, rtol=0, atol=2e-6 * np.abs(stress).max())


def test_a_stress_turns_with_the_crystal():
    model = made()
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    still, turned = (
        cartesian(predicted(model, CONFIGURATION, CELL @ matrix.T, PLACES @ matrix.T).stress)[0]
        for matrix in (np.eye(3), turn)
    )
    np.testing.assert_allclose(turned, turn @ still.numpy() @ turn.T, rtol=0, atol=1e-12)


def mixed(loss: Loss) -> tuple[Model, Tensor, EnergyForces, object]:
    """A batch of two cells and a molecule between them; its loss."""
    model = made()
    cells = DataSet(REFERENCE, CONFIGURATION.network, torch.float64, CPU, CONFIGURATION.target)
    molecules = DataSet(property_reference(4), CONFIGURATION.network, torch.float64, CPU, CONFIGURATION.target)
    structures = [cells.structures[0], molecules.structures[1], cells.structures[1]]
    batch = structures[0].collate([structures])[0]
    built = model.target.build_loss(loss, cells.structures)
    error = model.target.error(model(batch.graph), batch)
    return model, built(error, batch), error, batch


def test_the_loss_of_the_stress_is_its_formula():
    """The molecule, which has no stress, adds nothing to it and no NaN to the gradient."""
    model, loss, error, batch = mixed(Loss(name="squared", forces=0.0, energy=0.0, stress=2.0))
    assert batch.stress.isnan().all(dim=1).tolist() == [False, True, False]
    size = np.mean([np.square(stress).sum() for stress in REFERENCE.table["stress"].to_pylist()])
    expected = 2.0 * (error.stress[0].square().sum() + error.stress[2].square().sum()) / size / 3
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_errors_of_the_stress_are_of_the_structures_that_have_one():
    model, _, error, batch = mixed(Loss(name="squared"))
    values = {value.metric: value.value for value in model.target.values(model.target.sums(error, batch))}
    tensors = cartesian(error.stress[[0, 2]]).detach().numpy()
    assert values["stress_error"] == pytest.approx(np.linalg.norm(tensors, axis=(1, 2)).mean(), rel=1e-9)
    six = tensors[:, *np.triu_indices(3)]
    assert values["stress_component_mae"] == pytest.approx(np.abs(six).mean(), rel=1e-9)
    assert values["error"] == pytest.approx(float(error.forces.detach().norm(dim=1).mean()), rel=1e-9)


def test_training_learns_the_stress_of_a_pair_potential():
    """Of a Morse potential that ASE sums: the stress is learnt with its weight, and less well without."""
    reference = periodic_reference(10)
    configuration = replace(
        property_configuration("forces", epochs=8, batch_size=2, learning_rate=1e-2),
        data=replace(CONFIGURATION.data, train=6, validation=2, test=2),
        network=replace(CONFIGURATION.network, hidden=Hidden(irreps="6x0e+4x1o"), harmonics_lmax=1),
    )
    errors = []
    for stress in (1.0, 0.0):
        trained = replace(configuration, loss=replace(configuration.loss, stress=stress)).resolved()
        errors.append(train(synthetic_trial(reference, trained), reference, Memory(), device="cpu").metrics)
    assert errors[0]["test.stress_error"] < 0.6 * errors[1]["test.stress_error"]


def test_large_data_of_crystals_and_molecules_are_those_in_memory(monkeypatch):
    """Mapped from files, structures without a stress beside others with one."""
    rows = [*REFERENCE.table.to_pylist()[:3], *property_reference(3).table.to_pylist()]
    rows = [row | {"id": str(number)} for number, row in enumerate(rows)]
    table = property_table([{"label.strain": None, "label.shift": None} | row for row in rows])
    made = []
    for large in (4096, 2):
        monkeypatch.setattr(data_set, "LARGE", large)
        data = DataSet(table, CONFIGURATION.network, torch.float64, CPU, CONFIGURATION.target)
        made.append(data.batch(range(6)))
    assert torch.equal(made[0].graph.shift, made[1].graph.shift)
    assert torch.equal(made[0].graph.cell, made[1].graph.cell)
    torch.testing.assert_close(made[0].stress, made[1].stress, rtol=0, atol=0, equal_nan=True)
    assert made[0].stress.isfinite().all(dim=1).tolist() == [True] * 3 + [False] * 3
