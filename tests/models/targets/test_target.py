"""Every target: it trains, is resumed to the last bit, turns with the frame, and its metrics are their formulas."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from e3nn import o3

from tesseral.models.data.data_set import DataSet
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import split_structures
from tesseral.models.data.target_columns import check_values
from tesseral.models.targets.metrics import evaluation_batches, measure
from tesseral.models.targets.model import Model, build_model, build_target
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import QUANTITIES, find_quantity
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.synthetic_density import Memory, synthetic_trial
from tests.support.synthetic_properties import LABELS, property_configuration, property_reference, property_table

CPU = torch.device("cpu")
REFERENCE = property_reference()
LARGER = property_reference(56)
LABELLED = [f"label:{name}" for name in LABELS]
PROPERTIES = [*(name for name in QUANTITIES if name != "density"), *LABELLED]


def data_of(configuration: Configuration, reference: Reference = REFERENCE, dtype=torch.float64) -> DataSet:
    return DataSet(reference, configuration.network, dtype, CPU, configuration.target)


def fitted(quantity: str, reference: Reference = REFERENCE, **settings: object) -> tuple[Model, DataSet]:
    """An untrained model, its target standardised on all of the data."""
    configuration = property_configuration(quantity, **settings)
    data = data_of(configuration, reference)
    model = build_model(configuration, reference, num_neighbors=3.0, seed=5)
    model.target.standardise(data.select(range(len(data))))
    return model, data


def values_of(prediction) -> torch.Tensor:
    """The forces of a prediction of both, else itself."""
    return prediction.forces if isinstance(prediction, tuple) else prediction


def turned(rows: list[dict], rotation: np.ndarray, shift: np.ndarray) -> Reference:
    moved = [one | {"positions": (np.array(one["positions"]) @ rotation.T + shift).tolist()} for one in rows]
    return property_table(moved)


@pytest.mark.parametrize("quantity", PROPERTIES)
def test_it_trains(quantity):
    """The training loss falls, the error of structures never seen becomes smaller than the spread of the target."""
    configuration = property_configuration(quantity, epochs=20, batch_size=8)
    sizes = replace(configuration.data, train=40, validation=8, test=8)
    configuration, memory = replace(configuration, data=sizes), Memory()
    result = train(synthetic_trial(LARGER, configuration), LARGER, memory, device="cpu")
    losses = [one["value"] for one in memory.curve_rows if one["metric"] == "loss"]
    assert losses[-1] < 0.5 * losses[0]
    errors = [
        one["value"]
        for one in memory.curve_rows
        if (one["split"], one["metric"], one["l"]) == ("validation", "relative_error", None)
    ]
    assert errors[-1] < 0.85 * errors[0]
    assert result.metrics["test.relative_error"] < 100
    assert result.metrics["test.error"] > 0
    expected = {name for name in find_quantity(quantity, LABELS).metrics if not name.startswith("stress")}  # no cells
    assert {name.split(".")[1] for name in result.metrics} - {"loss"} == expected


@pytest.mark.parametrize("quantity", ["dipole", "polarizability", "forces"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_going_on_from_a_checkpoint_repeats_every_bit(quantity, dtype):
    trial = synthetic_trial(REFERENCE, property_configuration(quantity, epochs=3, dtype=dtype))
    memory, rest = Memory(), Memory()
    whole = train(trial, REFERENCE, memory, device="cpu")
    again = train(trial, REFERENCE, rest, device="cpu", checkpoint=memory.states[3])
    assert again.metrics == whole.metrics
    assert rest.curve_rows == [one for one in memory.curve_rows if one["step"] > 3]
    one, other = (restore_model(states[9], trial, REFERENCE).state_dict() for states in (memory.states, rest.states))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("quantity", ["energy", "forces", "label:shift"])
def test_a_checkpoint_is_a_model_that_predicts(quantity):
    """To the last bit of an energy, though the model is in single precision."""
    trial = synthetic_trial(REFERENCE, property_configuration(quantity, epochs=1))
    memory = Memory()
    result = train(trial, REFERENCE, memory, device="cpu")
    model = restore_model(memory.states[3], trial, REFERENCE)
    data = data_of(trial.configuration, dtype=torch.float32)
    test = split_structures(trial.configuration.data, range(len(data)), trial.seeds.split).test
    metrics = {f"test.{value.key}": value.value for value in measure(model, evaluation_batches(data, test))}
    assert metrics == {name: value for name, value in result.metrics.items() if name.startswith("test.")}


@pytest.fixture
def precise() -> Iterator[None]:
    """e3nn computes the matrices of a rotation in torch's default precision."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("quantity", PROPERTIES)
def test_predictions_turn_with_the_structure(quantity):
    """Rotation, inversion and translation, charged structures too."""
    reference = property_reference(6, charged=True)
    rows = reference.table.to_pylist()
    model, data = fitted(quantity, reference)
    irreps = o3.Irreps("+".join(map(str, find_quantity(quantity, LABELS).irreps)))
    still = values_of(model(data.batch(range(6)).graph)).detach()
    assert still.abs().max() > 1e-3
    angles = torch.tensor([0.4, 1.1, -2.0], dtype=torch.float64)
    for inverted in (0, 1):
        rotation = (-1) ** inverted * o3.angles_to_matrix(*angles).numpy()
        other = turned(rows, rotation, np.array([3.0, -20.0, 7.0]))
        moved = values_of(model(data_of(property_configuration(quantity), other).batch(range(6)).graph))
        expected = still @ irreps.D_from_angles(*angles, torch.tensor(inverted)).T
        torch.testing.assert_close(moved.detach(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("quantity", ["energy", "dipole_magnitude", "gap", "polarizability", *LABELLED])
def test_only_invariants_are_shifted(quantity):
    """Outputs of zero are predicted as the baseline: nothing but 0e differs from zero."""
    model, data = fitted(quantity)
    graph = data.batch(range(8)).graph
    width = sum(mul * (2 * order + 1) for mul, order, _ in model.target.outputs)
    labels = model.target.read(torch.zeros(len(graph.species), width, dtype=torch.float64), graph)
    assert (labels[:, model.target.invariant].abs() > 1e-3).all()
    assert (labels[:, ~model.target.invariant] == 0).all()


@pytest.mark.parametrize("quantity", PROPERTIES)
def test_metrics_are_their_formulas(quantity):
    """In several batches, against plain numpy on the stored rows; the baseline by a least squares fit of its own."""
    model, data = fitted(quantity)
    chosen = [1, 4, 2, 7, 6]
    metrics = {value.key: value.value for value in measure(model, evaluation_batches(data, chosen, 2))}
    rows = REFERENCE.table.to_pylist()
    kind = find_quantity(quantity, LABELS)

    def stored(one: dict) -> np.ndarray:
        values = np.array(one[kind.column], dtype=float)
        values = np.linalg.norm(values, keepdims=True) if kind.magnitude else values
        return values.reshape(len(one["atomic_numbers"]) if kind.per == "atom" else 1, -1)

    def counts(one: dict) -> np.ndarray:
        each = np.array([[number == 1, number == 8] for number in one["atomic_numbers"]], dtype=float)
        return each if kind.per == "atom" else each.sum(axis=0, keepdims=True)

    orders = np.array([order for mul, order, _ in kind.irreps for _ in range(mul * (2 * order + 1))])
    even = np.array([order == 0 and p == 1 for mul, order, p in kind.irreps for _ in range(mul * (2 * order + 1))])
    everything = np.concatenate([stored(one) for one in rows])
    if kind.extensive or kind.per == "atom":
        solution = np.linalg.pinv(np.concatenate([counts(one) for one in rows])) @ everything
        baselines = [counts(rows[index]) @ solution for index in chosen]
    else:
        baselines = [everything.mean(axis=0, keepdims=True) for _ in chosen]
    truth = np.concatenate([stored(rows[index]) for index in chosen])
    deviation = truth - even * np.concatenate(baselines)
    predicted = [values_of(model(data.batch([index]).graph)).detach().numpy() for index in chosen]
    error = np.concatenate(predicted) - truth
    expected = {
        "error": np.linalg.norm(error, axis=1).mean(),
        "relative_error": 100 * np.sqrt((error**2).sum() / (deviation**2).sum()),
    }
    for order in set(orders) if len(set(orders)) > 1 else ():
        block = orders == order
        expected[f"error.l{order}"] = np.linalg.norm(error[:, block], axis=1).mean()
        expected[f"relative_error.l{order}"] = 100 * np.sqrt(
            (error[:, block] ** 2).sum() / (deviation[:, block] ** 2).sum()
        )
    if error.shape[1] > 1:
        expected["component_mae"] = np.abs(error).mean()
    expected["component_rmse"] = np.sqrt((error**2).mean())
    sizes = np.array([len(rows[index]["atomic_numbers"]) for index in chosen])
    if quantity == "energy":
        expected["energy_error_per_atom"] = (np.abs(error[:, 0]) / sizes).mean()
    if quantity == "forces":
        energies = [model(data.batch([index]).graph).energy.item() - rows[index]["energy"] for index in chosen]
        expected["energy_error"] = np.abs(energies).mean()
        expected["energy_error_per_atom"] = (np.abs(energies) / sizes).mean()
    assert metrics == pytest.approx(expected, rel=1e-8)


def test_atomic_references_are_a_least_squares_fit():
    """Of structures whose composition tells the elements apart."""
    generator = np.random.default_rng(3)
    rows = REFERENCE.table.to_pylist()
    for one in rows[::3]:  # without a hydrogen: OH, and water with OH
        for key in ("atomic_numbers", "positions", "forces", "label.shift"):
            one[key] = one[key][:-1]
        one["energy"] += 0.5 + 0.01 * generator.normal()
    reference = property_table(rows)
    model, _ = fitted("energy", reference)
    counts = np.array([[one["atomic_numbers"].count(number) for number in (1, 8)] for one in rows], dtype=float)
    energies = np.array([one["energy"] for one in rows])
    expected = np.linalg.solve(counts.T @ counts, counts.T @ energies)
    offsets = model.target.baseline.sum(dim=0)[:, 0].numpy()
    assert offsets == pytest.approx(expected, rel=1e-10)
    residual = energies - counts @ expected
    assert float(model.target.spread[0]) == pytest.approx(np.sqrt((residual**2).mean()), rel=1e-8)
    # Rounded to single precision, the model keeps the digits of a large energy.
    assert model.float().target.baseline.double().sum(dim=0)[:, 0].numpy() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_gap_does_not_grow_with_the_number_of_molecules(number):
    """Copies that do not see each other have the gap of one, and the sum of their energies."""
    rows = property_reference(4).table.to_pylist()
    copies = [
        one
        | {
            "atomic_numbers": one["atomic_numbers"] * number,
            "positions": [[x + 50.0 * i, y, z] for i in range(number) for x, y, z in one["positions"]],
        }
        for one in rows
    ]
    for quantity, factor in (("gap", 1), ("energy", number)):
        model, _ = fitted(quantity)
        configuration = property_configuration(quantity)
        single = model(data_of(configuration, property_table(rows)).batch(range(4)).graph)
        several = model(data_of(configuration, property_table(copies)).batch(range(4)).graph)
        torch.testing.assert_close(several, factor * single, rtol=1e-10, atol=0)


def test_charges_add_up_to_the_total_charge():
    """Outputs that put all charge on one atom, far from the centre: what the others take is by the total charge."""
    model, data = fitted("dipole", property_reference(6, charged=True))
    graph = data.structures[0].graph
    outputs = torch.zeros(3, 4, dtype=torch.float64)
    outputs[1, 0] = 1 / model.target.charge_factor
    dipole = model.target.read(outputs, graph)[0]
    total = float(graph.charge)
    expected = [(total - 1) / 3, 1 + (total - 1) / 3, (total - 1) / 3]
    assert total == -1
    torch.testing.assert_close(dipole, (torch.tensor(expected) @ graph.positions.float() / BOHR).double())


@pytest.mark.parametrize("scale", ["spread", "none"])
@pytest.mark.parametrize("quantity", ["energy", "dipole_sum", "label:shift"])
def test_outputs_in_units(quantity, scale):
    """Outputs of one on every atom: each component moves by the factor, times the atoms where they are summed."""
    model, data = fitted(quantity, scale=scale)
    graph = data.structures[1].graph
    zero, one = (
        model.target.read(torch.full((6, len(model.target.order)), x, dtype=torch.float64), graph) for x in (0.0, 1.0)
    )
    step = model.target.factor if scale == "spread" else torch.ones_like(model.target.factor)
    expected = step.expand_as(one) * (6 if model.target.quantity.per == "structure" else 1)
    torch.testing.assert_close(one - zero, expected, rtol=1e-9, atol=1e-12)
    if scale == "spread":
        mean_atoms = 4.5 if model.target.quantity.per == "structure" else 1.0
        torch.testing.assert_close(model.target.factor * mean_atoms**0.5, model.target.spread)


LOSSES = [("energy", Loss()), ("label:shift", Loss()), ("forces", Loss(forces=2.0, energy=0.3))]


@pytest.mark.parametrize(("quantity", "loss"), LOSSES)
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(quantity, loss):
    """Weighted by their denominators: structures of three and of six atoms, in parts of 2, 3 and 3."""
    configuration = property_configuration(quantity, loss=loss)
    model, data = fitted(quantity)
    made = model.target.build_loss(configuration.loss, data.select(range(24)))
    parts = [data.batch(part) for part in ((0, 2), (4, 1, 3), (5, 6, 7))]
    whole = data.batch((0, 2, 4, 1, 3, 5, 6, 7))
    losses = [made(model.target.error(model(part.graph), part), part).item() for part in parts]
    weights = [made.denominator(part) for part in parts]
    assert sum(weights) == made.denominator(whole)
    expected = made(model.target.error(model(whole.graph), whole), whole).item()
    assert np.average(losses, weights=weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("quantity", ["dipole", "label:shift", "forces"])
def test_two_parts_train_as_one(quantity):
    """Gradients that add up over halves of each batch, in double precision."""
    trial = synthetic_trial(REFERENCE, property_configuration(quantity, epochs=2, dtype="float64"))
    one, two = (train(trial, REFERENCE, Memory(), device="cpu", parts=parts).metrics for parts in (1, 2))
    assert two == pytest.approx(one, rel=1e-6)


def test_the_squared_loss_is_its_formula():
    """1 for the baseline; each copy of an irrep by its own spread."""
    model, data = fitted("label:shift")
    loss = model.target.build_loss(Loss(name="squared"), data.select(range(24)))
    whole = data.batch(range(24))
    baseline = model.target.offset(whole.graph)
    assert float(loss(baseline - whole.values, whole)) == pytest.approx(1, rel=1e-12)
    error = torch.zeros_like(whole.values)
    error[:, 1] = 0.1
    spread = (whole.values - baseline)[:, 1].square().mean()
    assert float(loss(error, whole)) == pytest.approx(0.01 / float(spread) / 5, rel=1e-12)


@pytest.mark.parametrize(
    ("column", "quantity"), [("dipole", "dipole"), ("forces", "forces"), ("label.shift", LABELLED[1])]
)
def test_a_structure_without_the_quantity_is_named(column, quantity):
    rows = REFERENCE.table.to_pylist()
    index = REFERENCE.table.column_names.index(column)
    values = [None if number == 5 else one[column] for number, one in enumerate(rows)]
    field = REFERENCE.table.schema.field(column)
    partial = replace(
        REFERENCE, table=REFERENCE.table.set_column(index, field, pa.chunked_array([pa.array(values, field.type)]))
    )
    with pytest.raises(DataError, match=rf"target\.quantity: expected {column} of every .*'synthetic-5' has none"):
        check_values(Target(quantity=quantity), partial)
    with pytest.raises(DataError, match="'synthetic-5' has none"):
        data_of(property_configuration(quantity), partial)
    check_values(Target(quantity="energy"), partial)


def test_labels_and_densities_that_are_not_there():
    with pytest.raises(
        StudyFileError, match=r"target\.quantity: expected .*label:strain, label:shift, got 'label:sift'"
    ):
        data_of(property_configuration("label:sift"))
    with pytest.raises(DataError, match=r"expected density coefficients in the reference data, they have none"):
        build_model(property_configuration("density"), REFERENCE, num_neighbors=1.0, seed=0)


def test_a_target_that_does_not_vary_is_refused():
    rows = REFERENCE.table.to_pylist()
    constant = property_table([one | {"gap": 0.5, "energy": -76.0 * len(one["positions"])} for one in rows])
    for quantity in ("gap", "energy"):
        with pytest.raises(DataError, match=f"expected a target that varies over the training split, {quantity} does"):
            fitted(quantity, constant)


def test_every_quantity_is_declared():
    kinds = Target.__annotations__["quantity"].__args__[0].__args__
    assert set(kinds) == set(QUANTITIES)
    for quantity in QUANTITIES.values():
        assert quantity.column in property_reference(1).table.column_names
    assert find_quantity("label:strain", LABELS).irreps == parse_irreps("1x2e+1x0e")


def test_orders_of_a_tensor_are_weighted_one_by_one():
    """A polarizability's loss is the mean over six components: its scalar and its five of l = 2, each weighted."""
    reference = property_reference(8)
    configuration = property_configuration("polarizability", loss=Loss(orders=(1.0, 0.0, 4.0)))
    data = DataSet(reference, configuration.network, torch.float64, CPU, configuration.target)
    target = build_target(configuration, reference)
    structures = data.select(range(8))
    target.standardise(structures)
    batch = data.batch(range(8))
    error = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss = target.build_loss(configuration.loss, structures)
    squares = (error / target.spread).square()
    expected = (squares[:, :1].sum() + 4 * squares[:, 1:].sum()) / 48
    torch.testing.assert_close(loss(error, batch), expected)
    with pytest.raises(DataError, match=r"loss\.orders: expected a weight above 0 for an order of polarizability"):
        target.build_loss(Loss(name="squared", orders=(0.0, 1.0, 0.0)), structures)
