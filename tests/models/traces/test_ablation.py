"""Ablation at inference: closed forms on fixed features, other orientations, and what training records of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Module, Parameter

from tesseral.models.data.reference_file import Reference
from tesseral.models.targets.target import Value
from tesseral.models.traces.ablation import ablate, exchanged
from tesseral.models.training.checkpoint import read_checkpoint
from tesseral.models.training.training import train
from tesseral.study.records.schemas import REFERENCE, STATISTICS, to_table
from tests.models.traces.test_tracer import small, structures, tracer
from tests.support.synthetic_density import (
    BASIS,
    Memory,
    coefficients,
    rotations,
    small_configuration,
    synthetic_reference,
    synthetic_trial,
)

FEATURES = torch.tensor([[3.0, 0.0, 4.0, 0.0], [1.0, 0.0, 0.0, 2.0], [2.0, 6.0, 0.0, 0.0]])
"""1x0e+1x1o of three atoms."""


class Plain(Module):
    """Two layers: fixed features, then for each atom s + |v|."""

    class Layer(Module):
        irreps_out = o3.Irreps("1x0e+1x1o")

        def forward(self, graph: object) -> Tensor:
            return FEATURES

    class Output(Module):
        irreps_out = o3.Irreps("1x0e")

        def forward(self, features: Tensor) -> Tensor:
            return features[:, :1] + features[:, 1:].norm(dim=1, keepdim=True)

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.output = self.Layer(), self.Output()

    def forward(self, graph: object) -> Tensor:
        return self.output(self.layer(graph))


class PlainModel(Module):
    """Its error is Σ|prediction − value|."""

    def __init__(self, name: str = "relative_error") -> None:
        super().__init__()
        self.network, self.scale = Plain(), Parameter(torch.ones(()))
        self.target = SimpleNamespace(
            quantity=SimpleNamespace(ablation_metric="relative_error"),
            error=lambda prediction, batch: prediction - batch.values,
            sums=lambda error, batch: {"error": error.abs().sum()},
            values=lambda sums: [Value(name, None, float(sums["error"]))],
        )

    def forward(self, graph: object) -> Tensor:
        return self.network(graph)


def batch(*species: int) -> SimpleNamespace:
    """Three atoms of these elements; their values are those predicted."""
    return SimpleNamespace(graph=SimpleNamespace(species=torch.tensor(species)), values=Plain().output(FEATURES))


EXACT = batch(0, 0, 0)


def test_zeroed_features_in_closed_form():
    """Without l = 0 the prediction lacks Σ|s| = 6, without l = 1 it lacks Σ|v| = 12."""
    rows = ablate(PlainModel(), [EXACT], seed=1)
    assert [tuple(row)[:5] for row in rows] == [
        (None, None, None, None, "ablation_none"),
        (1, None, 0, None, "ablation_zero"),
        (1, None, 0, None, "ablation_shuffle"),
        (1, None, 1, None, "ablation_zero"),
        (1, None, 1, None, "ablation_shuffle"),
    ]
    assert [row.value for row in rows if row.statistic != "ablation_shuffle"] == [0, 6, 12]


def test_shuffled_features_are_those_of_other_atoms():
    """Each atom has another's, l = 0 and l = 1 of the same one; and over seeds, each way that leaves none occurs."""
    scalars, vectors = FEATURES[:, 0], FEATURES[:, 1:].norm(dim=1)
    seen = set()
    for seed in range(60):
        (zero, one) = shuffled([EXACT], seed)
        seen.add((zero, one))
        assert (zero, one) == tuple(shuffled([EXACT], seed))
    assert seen == {
        (float((scalars[p] - scalars).abs().sum()), float((vectors[p] - vectors).abs().sum()))
        for p in ([1, 2, 0], [2, 0, 1])
    }


def test_shuffled_features_are_those_of_the_same_element():
    """The first and the last atom change places; where all elements differ, none does."""
    assert shuffled([batch(1, 0, 1)], 5) == [2.0, 4.0]
    assert shuffled([batch(0, 1, 2)], 5) == [0.0, 0.0]


def shuffled(batches: list[SimpleNamespace], seed: int) -> list[float]:
    """Of l = 0 and l = 1."""
    return [row.value for row in ablate(PlainModel(), batches, seed=seed) if row.statistic == "ablation_shuffle"]


@given(species=st.lists(st.integers(0, 3), max_size=30), seed=st.integers(0, 2**31))
def test_an_exchange_is_a_derangement_of_each_element(species, seed):
    others = exchanged(species, seed)
    assert sorted(others) == list(range(len(species)))
    for atom, other in enumerate(others):
        assert species[other] == species[atom]
        assert (other == atom) is (species.count(species[atom]) == 1)
    assert others == exchanged(species, seed)


def test_features_without_a_row_for_each_atom_are_not_exchanged():
    rows = ablate(PlainModel(), [batch(0, 0)], seed=1)
    assert [row.statistic for row in rows] == ["ablation_none", "ablation_zero", "ablation_zero"]


def diatomics() -> Reference:
    """OH at several distances: of each element a structure has one atom."""
    rows = []
    for index in range(8):
        positions = np.array([[0.0, 0.0, 0.0], [0.8 + 0.1 * index, 0.0, 0.0]])
        values = coefficients([8, 1], positions)
        matrix = np.eye(sum(map(len, values)))
        row = {"id": str(index), "atomic_numbers": [8, 1], "positions": positions.tolist(), "charge": 0, "spin": 1}
        rows.append(row | {"converged": True, "coefficients": values, "overlap": matrix[np.tril_indices(len(matrix))]})
    return Reference(to_table(rows, REFERENCE), BASIS)


def test_features_are_exchanged_among_structures(monkeypatch):
    reference, configuration = diatomics(), small_configuration(epochs=1, loss="raw")
    configuration = replace(configuration, data=replace(configuration.data, train=3, validation=4, test=1))

    def changed() -> set[bool]:
        memory = Memory()
        train(synthetic_trial(reference, configuration), reference, memory, device="cpu")
        values = {name: [r["value"] for r in memory.trace_rows if r["statistic"] == name] for name in STATISTICS}
        assert values["ablation_shuffle"]
        return {value != values["ablation_none"][0] for value in values["ablation_shuffle"]}

    assert changed() == {True}
    monkeypatch.setattr("tesseral.models.training.training.TOGETHER", 1)  # then no atom has another to exchange with
    assert changed() == {False}


def test_nothing_is_told_without_structures_or_metric():
    assert ablate(PlainModel(), [], seed=1) == []
    assert ablate(PlainModel("own_metric"), [EXACT], seed=1) == []


def test_nothing_turns_with_the_input():
    first, second = (
        ablate((made := tracer(structures(turn), small())).model, made.probe, seed=4)
        for turn in (np.eye(3), -rotations(1, np.random.default_rng(2))[0])
    )
    assert len(first) == 1 + 2 * 2 * 3
    assert [row[:5] for row in first] == [row[:5] for row in second]
    assert [row.value for row in second] == pytest.approx([row.value for row in first], rel=1e-9)
    assert all(row.value != first[0].value for row in first[1:])


def test_the_model_is_as_it_was():
    made = tracer(structures(np.eye(3)), small())
    (batch,) = made.probe
    with torch.no_grad():
        before, state = made.model(batch.graph), torch.get_rng_state()
        ablate(made.model, made.probe, seed=4)
        assert torch.equal(made.model(batch.graph), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in made.model.modules())


def test_a_training_ends_with_it():
    """Once, with the last trace, of the validation split alone; and of none if there is none."""
    reference, configuration = synthetic_reference(), small_configuration(epochs=2)
    memory = Memory()
    result = train(synthetic_trial(reference, configuration), reference, memory, device="cpu")
    rows = [row for row in memory.trace_rows if row["statistic"].startswith("ablation")]
    assert len(rows) == 1 + 2 * 2 * 3
    assert {row["epoch"] for row in rows} == {2}
    intact = next(row["value"] for row in rows if row["statistic"] == "ablation_none")
    assert intact == pytest.approx(result.metrics["validation.l2_error"], rel=1e-5)
    without = replace(configuration, data=replace(configuration.data, validation=0))
    memory = Memory()
    train(synthetic_trial(reference, without), reference, memory, device="cpu")
    assert not any(row["statistic"].startswith("ablation") for row in memory.trace_rows)


def test_no_trial_of_a_search_is_ablated():
    reference = synthetic_reference()
    memory = Memory()
    train(synthetic_trial(reference, small_configuration(epochs=2)), reference, memory, device="cpu", test=False)
    assert {row["epoch"] for row in memory.trace_rows} == {0, 1, 2}
    assert not any(row["statistic"].startswith("ablation") for row in memory.trace_rows)


def test_its_time_is_not_training_s(monkeypatch):
    """By a clock that stands still but for it: neither the result nor the last checkpoint counts it."""
    now = [5.0]

    def slow(*args: object, **kwargs: object) -> list:
        now[0] += 1000
        return []

    monkeypatch.setattr("tesseral.models.training.training.time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr("tesseral.models.training.training.ablate", slow)
    reference, memory = synthetic_reference(), Memory()
    trial = synthetic_trial(reference, small_configuration(epochs=2))
    assert train(trial, reference, memory, device="cpu").seconds == 0
    assert now == [1005]
    assert [read_checkpoint(state, trial).seconds for state in memory.states.values()] == [0, 0]


def test_one_that_is_killed_after_its_last_step_is_ablated_again():
    """No row of it stands before the checkpoint that ends the training."""
    reference, configuration = synthetic_reference(), small_configuration(epochs=2)
    trial, memory = synthetic_trial(reference, configuration), Memory()
    train(trial, reference, memory, device="cpu")

    class KilledError(Exception):
        pass

    class Dies(Memory):
        def boundary(self, step, steps, state, metrics):
            if step == steps:
                raise KilledError
            super().boundary(step, steps, state, metrics)

    dying = Dies()
    with pytest.raises(KilledError):
        train(trial, reference, dying, device="cpu")
    (last,) = dying.states
    counted = [row for row in dying.trace_rows if row["step"] <= last]
    again = Memory()
    train(trial, reference, again, device="cpu", checkpoint=dying.states[last])
    assert counted + again.trace_rows == memory.trace_rows
