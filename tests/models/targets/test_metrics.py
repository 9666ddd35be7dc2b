"""Metrics on a split, against plain numpy on the stored rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tesseral.models.data.data_set import DataSet
from tesseral.models.data.split import split_structures
from tesseral.models.density.density import epsilon_by_order
from tesseral.models.density.errors import density_errors
from tesseral.models.targets import metrics
from tesseral.models.targets.metrics import evaluation_batches, measure, measure_densities
from tesseral.models.targets.model import build_model
from tesseral.models.targets.target import Value
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.training import train
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.configuration.target import Target
from tests.models.targets.test_loss import COLUMNS, ORDERS, rackers
from tests.support.synthetic_density import (
    BASIS,
    EMPTY,
    Memory,
    small_configuration,
    synthetic_reference,
    synthetic_trial,
)

SPLIT = [1, 4, 2, 7, 6]


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet(synthetic_reference(8), small_configuration().network, torch.float64, torch.device("cpu"))


@pytest.fixture(scope="module")
def model(data):
    made = build_model(small_configuration(), EMPTY, num_neighbors=4.0, seed=3)
    made.target.standardise(data.select([0, 3, 5]))
    return made


@pytest.fixture(scope="module")
def predicted(data, model) -> list[dict]:
    """The rows of the split with predicted coefficients."""
    rows = data.reference.table.to_pylist()
    pairs = []
    with torch.no_grad():
        for index in SPLIT:
            values = model(data.batch([index]).graph).numpy()
            row = rows[index]
            new = [values[i][COLUMNS[number]].tolist() for i, number in enumerate(row["atomic_numbers"])]
            pairs.append(row | {"coefficients": new})
    return pairs


def values(measured: list[Value]) -> dict[str, float]:
    return {value.key: value.value for value in measured}


def relative_error(data, predicted: list[dict], block: np.ndarray) -> float:
    """100·√(Σ∫Δρ²/Σ∫(ρ−ρ̄)²) of these columns, ρ̄ the mean s coefficients of each element over structures 0, 3, 5."""
    rows = data.reference.table.to_pylist()
    means = {
        number: np.mean([c for i in (0, 3, 5) for n, c in atoms_of(rows[i]) if n == number], axis=0)
        for number in (1, 8)
    }
    wrong = spread = 0.0
    for index, other in zip(SPLIT, predicted, strict=True):
        pieces = []
        for (number, c), (_, p) in zip(atoms_of(rows[index]), atoms_of(other), strict=True):
            chosen, scalar = block[COLUMNS[number]], ORDERS[COLUMNS[number]] == 0
            pieces.append(np.stack([chosen * (p - c), chosen * (c - scalar * means[number])]))
        matrix = np.zeros(2 * (sum(piece.shape[1] for piece in pieces),))
        matrix[np.tril_indices(len(matrix))] = rows[index]["overlap"]
        matrix = matrix + matrix.T - np.diag(matrix.diagonal())
        error, deviation = np.concatenate(pieces, axis=1)
        wrong += error @ matrix @ error
        spread += deviation @ matrix @ deviation
    return 100 * np.sqrt(wrong / spread)


def atoms_of(row: dict) -> list[tuple[int, np.ndarray]]:
    return [(number, np.array(c)) for number, c in zip(row["atomic_numbers"], row["coefficients"], strict=True)]


def test_metrics_are_their_formulas(data, model, predicted, monkeypatch):
    monkeypatch.setattr(metrics, "BATCH_SIZE", 2)
    measured = values(measure(model, evaluation_batches(data, SPLIT)))
    rows = [data.reference.table.to_pylist()[index] for index in SPLIT]
    error_norm = norm = 0.0
    electrons = []
    for row, other in zip(rows, predicted, strict=True):
        c, p = (np.concatenate(one["coefficients"]) for one in (row, other))
        matrix = np.zeros((len(c), len(c)))
        matrix[np.tril_indices(len(c))] = row["overlap"]
        matrix = matrix + matrix.T - np.diag(matrix.diagonal())
        error_norm += (p - c) @ matrix @ (p - c)
        norm += c @ matrix @ c
        shells = [shell for number in row["atomic_numbers"] for shell in BASIS.shells[number]]
        charges = [shell.charge for shell in shells for _ in range(2 * shell.l + 1)]
        electrons.append(abs((p - c) @ charges))
    y, _ = rackers(rows)
    error = rackers(predicted)[0] - y
    expected = {
        "l2_error": 100 * np.sqrt(error_norm / norm),
        "mse": (error**2).mean(),
        "electrons": np.mean(electrons),
    }
    parts = {None: np.ones(26, dtype=bool)} | {order: order == ORDERS for order in range(5)}
    for order, block in parts.items():
        name = "relative_error" if order is None else f"relative_error.l{order}"
        expected[name] = relative_error(data, predicted, block)
    for order in range(5):
        block = parts[order]
        expected[f"block_error.l{order}"] = 100 * np.sqrt((error[:, block] ** 2).sum() / (y[:, block] ** 2).sum())
    assert measured == pytest.approx(expected, rel=1e-9)
    assert set(measured) == set(expected)


def test_measures_of_a_density_are_means_over_structures(data, model, predicted):
    measured = values(measure_densities(model, data, SPLIT[:2]))
    rows = [data.reference.table.to_pylist()[index] for index in SPLIT[:2]]
    pairs = [
        (
            BASIS,
            row["atomic_numbers"],
            torch.tensor(row["positions"], dtype=torch.float64),
            [torch.tensor(c, dtype=torch.float64) for c in other["coefficients"]],
            [torch.tensor(c, dtype=torch.float64) for c in row["coefficients"]],
        )
        for row, other in zip(rows, predicted, strict=False)
    ]
    expected = [epsilon_by_order(*pair) for pair in pairs]
    errors = [density_errors(*pair) for pair in pairs]
    for name in ("dipole", "quadrupole", "potential"):
        mean = np.mean([getattr(one, name) for one in errors])
        assert measured[f"{name}_error"] == pytest.approx(mean, rel=1e-9)
        assert mean > 0
    assert measured["epsilon"] == pytest.approx(np.mean([one[None] for one in expected]), rel=1e-9)
    assert measured["block_epsilon.l2"] == pytest.approx(np.mean([one[2] for one in expected]), rel=1e-9)
    assert 0 < measured["block_epsilon.l4"] < measured["epsilon"]


def test_the_reference_itself_has_no_error(data):
    class Perfect:
        target = build_model(small_configuration(), EMPTY, num_neighbors=4.0, seed=0).target

        def __call__(self, graph):
            return next(remaining)

    batches = evaluation_batches(data, SPLIT)
    remaining = (batch.values for batch in batches)
    assert set(values(measure(Perfect(), batches)).values()) == {0.0}


def test_an_order_that_is_nowhere_has_no_error(data, model):
    batch = data.batch(SPLIT)
    coefficients = batch.values.clone()
    coefficients[:, ORDERS == 4] = 0
    measured = values(measure(model, [replace(batch, values=coefficients)]))
    assert "block_error.l3" in measured
    assert "block_error.l4" not in measured


def test_no_structures_have_no_metrics(model):
    assert measure(model, []) == []


def test_every_metric_is_declared(data, model):
    measured = measure(model, evaluation_batches(data, SPLIT)) + measure_densities(model, data, SPLIT[:1])
    assert {value.metric for value in measured} == set(QUANTITIES["density"].metrics)
    for value in measured:
        assert METRICS[value.metric].by_l == (value.l is not None) or value.metric == "relative_error"


def test_chosen_orders_are_measured_alone():
    """ε counts the error of the chosen orders over the whole charge, the others being those of the reference."""
    reference = synthetic_reference(16)
    configuration = small_configuration(epochs=8)
    configuration = replace(configuration, target=Target(orders=(1, 2))).resolved()
    configuration = replace(configuration, data=replace(configuration.data, train=10, validation=2, test=2))
    trial, memory = synthetic_trial(reference, configuration), Memory()
    result = train(trial, reference, memory, device="cpu")
    losses = [row["value"] for row in memory.curve_rows if row["metric"] == "loss"]
    assert losses[-1] < 0.7 * losses[0]
    keys = {name.removeprefix("test.") for name in result.metrics if name.startswith("test.")}
    by_order = {f"{name}.l{order}" for name in ("block_error", "block_epsilon", "relative_error") for order in (1, 2)}
    in_use = {"dipole_error", "quadrupole_error", "potential_error"}
    assert keys == {"epsilon", "l2_error", "mse", "relative_error"} | in_use | by_order

    trained = restore_model(memory.states[24], trial, reference)
    chosen = DataSet(reference, configuration.network, torch.float32, torch.device("cpu"), configuration.target)
    batches = []
    for index in split_structures(configuration.data, range(16), trial.seeds.split).test:
        row = reference.table.slice(index, 1).to_pylist()[0]
        with torch.no_grad():
            values = trained(chosen.batch([index]).graph).double()
        fitted = [torch.tensor(c, dtype=torch.float64) for c in row["coefficients"]]
        predicted = [c.clone() for c in fitted]
        for number, c, own in zip(row["atomic_numbers"], predicted, values, strict=True):
            # Oxygen 2s1p1d1f1g, hydrogen 1s1p; of the outputs 1o+2e.
            c[{8: slice(2, 10), 1: slice(1, 4)}[number]] = own if number == 8 else own[:3]
        positions = torch.tensor(row["positions"], dtype=torch.float64)
        batches.append(epsilon_by_order(BASIS, row["atomic_numbers"], positions, predicted, fitted))
        assert batches[-1][0] == batches[-1][3] == 0
    for key, order in (("epsilon", None), ("block_epsilon.l1", 1), ("block_epsilon.l2", 2)):
        assert result.metrics[f"test.{key}"] == pytest.approx(np.mean([one[order] for one in batches]), rel=1e-4)
