"""Metrics on a split, against plain numpy on the stored rows."""

import numpy as np
import pytest
import torch
from synthetic_density import BASIS, small_configuration, synthetic_reference
from test_loss import COLUMNS, ORDERS, rackers

from tesseral.models import metrics
from tesseral.models.data_set import DataSet
from tesseral.models.density import epsilon_by_order
from tesseral.models.metrics import Value, evaluation_batches, measure, measure_epsilon
from tesseral.models.model import build_model
from tesseral.study.metrics import METRICS

SPLIT = [1, 4, 2, 7, 6]


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet(synthetic_reference(8), small_configuration().network, torch.float64, torch.device("cpu"))


@pytest.fixture(scope="module")
def model(data):
    made = build_model(small_configuration(), BASIS, num_neighbors=4.0, seed=3)
    made.target.fit(*data.atoms([0, 3, 5]))
    return made


@pytest.fixture(scope="module")
def predicted(data, model) -> list[dict]:
    """The rows of the split with predicted coefficients."""
    rows = data.reference.table.to_pylist()
    found = []
    with torch.no_grad():
        for index in SPLIT:
            values = model(data.batch([index]).graph).numpy()
            row = rows[index]
            new = [values[i][COLUMNS[number]].tolist() for i, number in enumerate(row["atomic_numbers"])]
            found.append(row | {"coefficients": new})
    return found


def values(found: list[Value]) -> dict[str, float]:
    return {value.key: value.value for value in found}


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
    for order in range(5):
        block = order == ORDERS
        expected[f"block_error.l{order}"] = 100 * np.sqrt((error[:, block] ** 2).sum() / (y[:, block] ** 2).sum())
    assert measured == pytest.approx(expected, rel=1e-9)
    assert set(measured) == set(expected)


def test_epsilon_is_the_mean_over_structures(data, model, predicted):
    measured = values(measure_epsilon(model, data, SPLIT[:2]))
    rows = [data.reference.table.to_pylist()[index] for index in SPLIT[:2]]
    expected = [
        epsilon_by_order(
            BASIS,
            row["atomic_numbers"],
            torch.tensor(row["positions"], dtype=torch.float64),
            [torch.tensor(c, dtype=torch.float64) for c in other["coefficients"]],
            [torch.tensor(c, dtype=torch.float64) for c in row["coefficients"]],
        )
        for row, other in zip(rows, predicted, strict=False)
    ]
    assert measured["epsilon"] == pytest.approx(np.mean([one[None] for one in expected]), rel=1e-9)
    assert measured["block_epsilon.l2"] == pytest.approx(np.mean([one[2] for one in expected]), rel=1e-9)
    assert 0 < measured["block_epsilon.l4"] < measured["epsilon"]


def test_the_reference_itself_has_no_error(data):
    class Perfect:
        target = build_model(small_configuration(), BASIS, num_neighbors=4.0, seed=0).target

        def __call__(self, graph):
            return next(found)

    batches = evaluation_batches(data, SPLIT)
    found = (batch.coefficients for batch in batches)
    assert set(values(measure(Perfect(), batches)).values()) == {0.0}


def test_an_order_that_is_nowhere_has_no_error(data, model):
    batch = data.batch(SPLIT)
    coefficients = batch.coefficients.clone()
    coefficients[:, ORDERS == 4] = 0
    measured = values(measure(model, [batch._replace(coefficients=coefficients)]))
    assert "block_error.l3" in measured
    assert "block_error.l4" not in measured


def test_no_structures_have_no_metrics(model):
    assert measure(model, []) == []


def test_every_metric_is_declared(data, model):
    found = measure(model, evaluation_batches(data, SPLIT)) + measure_epsilon(model, data, SPLIT[:1])
    assert {value.metric for value in found} == set(METRICS)
    assert all(METRICS[value.metric].by_l == (value.l is not None) for value in found)
