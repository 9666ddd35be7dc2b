"""Forces by gradient: the derivative of the energy that is predicted, in training and in evaluation."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import Batch
from tesseral.models.data.data_set import DataSet
from tesseral.models.data.reference_file import Reference
from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions, build_graph
from tesseral.models.targets.forces import START, EnergyForces
from tesseral.models.targets.metrics import evaluation_batches, measure
from tesseral.models.targets.model import Model, build_model
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion, Hidden
from tesseral.study.configuration.target import Loss
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError
from tests.support.synthetic_density import Memory, synthetic_trial
from tests.support.synthetic_properties import ATOMIC, property_configuration, property_reference

CPU = torch.device("cpu")
REFERENCE = property_reference(8)
CONFIGURATION = property_configuration("forces")


def network_of(**changes: object) -> Configuration:
    return replace(CONFIGURATION, network=replace(CONFIGURATION.network, **changes))


NETWORKS = {
    "gated": CONFIGURATION,
    "bessel": network_of(radial_basis="bessel", radial_envelope="polynomial", readout="linear", residual=True),
    "cosine": network_of(radial_basis="cosine", fusion=Fusion(diagram="((neighbours edges) centre)", k_max=1)),
    "cormorant": network_of(interaction="cormorant", hidden=Hidden(irreps="4x0e+3x1o"), radial_envelope="polynomial"),
    "mace": network_of(interaction="mace", hidden=Hidden(irreps="4x0e+3x1o"), radial_basis="bessel", embedding=3),
}


def made(
    reference: Reference = REFERENCE,
    dtype: torch.dtype = torch.float64,
    configuration: Configuration = CONFIGURATION,
) -> tuple[Model, DataSet]:
    data = DataSet(reference, configuration.network, dtype, CPU, configuration.target)
    model = build_model(configuration, reference, num_neighbors=3.0, seed=5)
    model.target.standardise(data.select(range(len(data))))
    return model.to(dtype), data


def without_energies(missing: range = range(8)) -> Reference:
    index = REFERENCE.table.column_names.index("energy")
    values = [None if i in missing else value for i, value in enumerate(REFERENCE.table["energy"].to_pylist())]
    return replace(REFERENCE, table=REFERENCE.table.set_column(index, "energy", pa.array(values, pa.float64())))


def energy(model: Model, batch: Batch, positions: Tensor, configuration: Configuration = CONFIGURATION) -> Tensor:
    """As predicted at other positions, from a graph built anew."""
    edges = EdgeBasis.from_settings(configuration.network)
    graph = build_graph(batch.graph.species, positions, 2, edges)
    with torch.no_grad():
        return model.target.read(model.network(graph), graph)[0, 0]


@pytest.mark.parametrize(("network", "index"), [("gated", 0), *((name, 1) for name in NETWORKS)])
def test_forces_are_minus_the_numerical_gradient_of_the_energy(network, index):
    """Central differences of fourth order, to 1e-6 of the largest force; edges cross the cutoff's smooth end."""
    configuration = NETWORKS[network]
    model, data = made(configuration=configuration)
    batch, step = data.structures[index], 1e-3
    positions = batch.graph.positions
    expected = torch.zeros_like(positions)
    for place in np.ndindex(*positions.shape):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = positions.clone()
            moved[place] += shift * step
            values.append(float(energy(model, batch, moved, configuration)))
        expected[place] = -BOHR * (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    outputs = model(batch.graph)
    assert outputs.energy.item() == pytest.approx(float(energy(model, batch, positions, configuration)), rel=1e-13)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(outputs.forces.detach(), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_forces_of_a_structure_add_up_to_nothing():
    model, data = made()
    batch = data.batch(range(4))
    forces = model(batch.graph).forces.detach()
    net = forces.new_zeros(4, 3).index_add(0, batch.graph.structure, forces)
    assert forces.abs().max() > 1e-3
    assert net.abs().max() < 1e-12


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_get_the_gradient_of_the_force_loss(network):
    """A derivative through the derivative, against differences of the loss."""
    model, data = made(configuration=NETWORKS[network])
    batch = data.batch(range(3))
    loss = model.target.build_loss(Loss(name="squared", forces=1.0, energy=0.3), data.select(range(8)))

    def value() -> Tensor:
        return loss(model.target.error(model(batch.graph), batch), batch)

    value().backward()
    generator = torch.Generator().manual_seed(0)
    weights = [weight for weight in model.parameters() if weight.grad is not None]
    direction = [torch.randn(weight.shape, dtype=torch.float64, generator=generator) for weight in weights]
    expected = sum(float((weight.grad * part).sum()) for weight, part in zip(weights, direction, strict=True))
    values = []
    for shift in (-2e-4, -1e-4, 1e-4, 2e-4):
        for weight, part in zip(weights, direction, strict=True):
            weight.data += shift * part
        values.append(float(value().detach()))
        for weight, part in zip(weights, direction, strict=True):
            weight.data -= shift * part
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-4
    assert abs(expected) > 1e-3
    assert slope == pytest.approx(expected, rel=1e-6)


def test_evaluation_keeps_no_graph():
    """And gives the numbers of training."""
    model, data = made()
    graph = data.batch(range(2)).graph
    training = model(graph)
    with torch.no_grad():
        outputs = model(graph)
    assert training.forces.requires_grad
    assert not outputs.forces.requires_grad
    assert not outputs.energy.requires_grad
    torch.testing.assert_close(outputs.forces, training.forces.detach(), rtol=0, atol=1e-15)


def test_the_loss_is_its_formula():
    model, data = made()
    batch = data.batch([0, 1, 3])
    loss = model.target.build_loss(Loss(name="squared", forces=2.0, energy=0.5), data.select(range(8)))
    generator = torch.Generator().manual_seed(1)
    error = EnergyForces(
        torch.randn(3, 1, dtype=torch.float64, generator=generator),
        torch.randn(batch.values.shape, dtype=torch.float64, generator=generator),
    )
    spread = (np.concatenate(REFERENCE.table["forces"].to_pylist()) ** 2).mean()
    parts = error.forces.split([3, 6, 6])
    expected = np.mean(
        [
            2.0 * float(part.square().mean()) / spread + 0.5 * float(one) ** 2 / len(part) * BOHR**2 / spread
            for part, one in zip(parts, error.energy, strict=True)
        ]
    )
    assert float(loss(error, batch)) == pytest.approx(expected, rel=1e-9)


def test_energies_are_learnt_where_they_are():
    """Beside forces they have an error of their own; without them the forces alone are trained."""
    configuration = replace(CONFIGURATION, data=replace(CONFIGURATION.data, train=5, validation=1, test=2))
    with_them, without = (
        train(synthetic_trial(reference, configuration), reference, Memory(), device="cpu").metrics
        for reference in (REFERENCE, without_energies())
    )
    assert with_them["test.energy_error"] < 0.01 * -ATOMIC[8]
    own = {f"{split}.{name}" for split in ("test", "validation") for name in ("energy_error", "energy_error_per_atom")}
    assert with_them.keys() - without.keys() == own
    only_energies = replace(configuration, loss=Loss(name="squared", forces=0.0))
    with pytest.raises(DataError, match=r"loss\.forces: expected a weight above 0"):
        train(synthetic_trial(without_energies(), only_energies), without_energies(), Memory(), device="cpu")


def test_energies_of_some_structures_are_refused():
    with pytest.raises(DataError, match="expected an energy beside the forces of every structure or of none"):
        made(without_energies(range(3)))


def test_forces_that_vanish_are_refused():
    index = REFERENCE.table.column_names.index("forces")
    zero = [[[0.0] * 3 for _ in row] for row in REFERENCE.table["forces"].to_pylist()]
    column = pa.array(zero, REFERENCE.table.schema.field("forces").type)
    with pytest.raises(DataError, match="expected forces in the training split, all of them are zero"):
        made(replace(REFERENCE, table=REFERENCE.table.set_column(index, "forces", column)))


def blind() -> Module:
    """A network that does not look at positions."""

    class Elements(Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2, 1, dtype=torch.float64))

        def forward(self, graph: Graph) -> Tensor:
            return graph.elements @ self.weight

    return Elements()


def test_a_network_that_does_not_look_at_positions_has_no_forces():
    model, data = made()
    unmoved = Model(blind(), model.target)
    assert (unmoved(data.batch([0, 1]).graph).forces == 0).all()
    assert {value.key for value in measure(unmoved, evaluation_batches(data, [0, 1]))} == {
        "error",
        "relative_error",
        "component_mae",
        "component_rmse",
        "energy_error",
        "energy_error_per_atom",
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_first_forces_have_one_size_whatever_the_layers(network):
    model, data = made(configuration=NETWORKS[network])
    structures = data.select(range(8))
    model.target.calibrate(model.network, structures)
    with torch.no_grad():
        first = torch.cat([model(one.graph).forces for one in structures]).square().mean().sqrt()
    assert float(first / model.target.spread) == pytest.approx(START, rel=1e-9)


def test_training_begins_with_forces_of_that_size():
    """Before the first step of a mace-like network, whose own are tens of times larger, the error is that of zero."""
    shown = replace(NETWORKS["mace"], data=replace(CONFIGURATION.data, train=5, validation=2, test=1))
    memory = Memory()
    train(synthetic_trial(REFERENCE, shown), REFERENCE, memory, device="cpu")
    (first,) = [row for row in memory.curve_rows if row["step"] == 0 and row["metric"] == "relative_error"]
    assert 80 < first["value"] < 120


@pytest.mark.parametrize("case", ["unscaled", "blind"])
def test_a_scale_that_is_not_asked_for_or_cannot_help_stays(case):
    configuration = CONFIGURATION
    if case == "unscaled":
        configuration = replace(configuration, target=replace(configuration.target, scale="none"))
    model, data = made(configuration=configuration)
    before = model.target.energy.factor.clone()
    model.target.calibrate(blind() if case == "blind" else model.network, data.select(range(4)))
    assert model.target.energy.factor.equal(before)


@pytest.mark.parametrize("network", NETWORKS)
def test_edges_at_other_positions_are_those_of_a_graph_built_there(network):
    model, data = made(configuration=NETWORKS[network])
    graph = data.batch(range(3)).graph
    again = at_positions(graph, graph.positions, model.target.edges)
    torch.testing.assert_close(again.harmonics, graph.harmonics, rtol=0, atol=1e-12)
    torch.testing.assert_close(again.radial, graph.radial, rtol=0, atol=1e-12)
