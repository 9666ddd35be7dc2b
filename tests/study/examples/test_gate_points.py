"""The example of a network that this project did not write: e3nn's gate_points_2101 on the edges of a data set."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from e3nn.math import soft_one_hot_linspace
from e3nn.nn.models import gate_points_2101

from tesseral.models.data.data_set import DataSet
from tesseral.models.networks.graph import Graph
from tesseral.models.networks.network import build_network
from tesseral.models.networks.seeding import initialising
from tesseral.models.networks.sizing.probe import measure_size, probe_unreachable
from tesseral.models.networks.sizing.size import Shape
from tesseral.models.networks.user_network import DEFINE
from tesseral.models.traces.features import trace_features
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.trial import Traces
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.parsing.user_function import source_hash
from tesseral.study.study import Study
from tests.support.synthetic_density import BASIS, Memory, small_configuration, synthetic_reference, synthetic_trial

EXAMPLES = Path(__file__).parents[3] / "study" / "examples"
DEFINED = "tesseral.study.examples.gate_points:GatePoints"
REFERENCE = synthetic_reference()


def configured(**changes: object) -> Configuration:
    return small_configuration(define=DEFINED, **({"hidden": "4x0e+2x0o+2x1e+3x1o+2x2e"} | changes))


def graph_of(configuration: Configuration, structures: list[int]) -> Graph:
    return DataSet(REFERENCE, configuration.network, torch.float64, torch.device("cpu")).batch(structures).graph


def test_it_is_e3nns_own_to_the_last_digits():
    """Its top-level forward finds edges, harmonics and cutoff by itself: here they are ours, and the same."""
    configuration = configured()
    settings, graph = configuration.network, graph_of(configuration, [0, 1, 3])
    ours = build_network(settings, 2, BASIS.layout, num_neighbors=4.0, seed=3)
    with initialising(0):
        theirs = gate_points_2101.Network(
            irreps_in="2x0e",
            irreps_hidden=settings.hidden.irreps,
            irreps_out=ours.irreps_out,
            irreps_node_attr="2x0e",
            irreps_edge_attr="0e+1o+2e",
            layers=2,
            max_radius=3.5,
            number_of_basis=6,
            radial_layers=1,
            radial_neurons=12,
            num_neighbors=4.0,
            num_nodes=1.0,
            reduce_output=False,
        )
    theirs.load_state_dict(ours.network.state_dict())
    data = {"pos": graph.positions, "x": graph.elements, "z": graph.elements, "batch": graph.structure}
    expected = theirs(data)
    # Its Gaussians begin at no distance and end at the cutoff; ours lie between.
    distances = (graph.positions[graph.source] - graph.positions[graph.destination]).norm(dim=1)
    radial = soft_one_hot_linspace(distances, 0.0, 3.5, 6, basis="gaussian", cutoff=False) * 6**0.5
    outputs = ours(graph._replace(radial=radial))
    assert expected.abs().max() > 0.1
    assert torch.allclose(outputs, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(ours(graph), expected, rtol=0, atol=1e-3)


def test_its_features_are_traced_without_a_change_of_it():
    configuration = configured(hidden="4x0e+2x0o+2x1e+3x1o+2x2e", layers=3)
    network = build_network(configuration.network, 2, BASIS.layout, num_neighbors=4.0, seed=0)
    graph = graph_of(configuration, [0, 1])
    features = trace_features(network, graph)
    natural, both = {(0, 1), (1, -1), (2, 1)}, {(0, 1), (1, 1), (1, -1), (2, 1)}
    for layer, irreps in ((1, natural), (2, both), (3, both | {(0, -1)})):
        assert {(one.l, one.p) for one in features if one.layer == layer} == irreps
    assert all(one.rms > 1e-3 for one in features)
    for layer in (1, 2, 3):
        assert sum(one.share for one in features if one.layer == layer) == pytest.approx(1)


def test_parameters_by_hand():
    """One layer of three scalars, seen by harmonics of l = 0: every weight can be counted."""
    configuration = configured(hidden="3x0e", layers=1, harmonics_lmax=0)
    shape = Shape(elements=2, layout=parse_irreps("5x0e"), atoms=4.0, edges=10.0)

    def convolution(entering: int, made: int) -> int:
        linear = entering * 2 * made + entering * 2 * entering + entering * 2 * made
        return linear + 6 * 12 + 12 * entering  # the radial network has 6 functions and 12 neurons

    assert measure_size(configuration, shape).parameters == convolution(2, 3) + convolution(3, 5)


def test_what_it_cannot_reach_is_found_by_running_it():
    scalars = configured(hidden="4x0e", harmonics_lmax=2)
    assert probe_unreachable(scalars, BASIS.layout, 2) == parse_irreps("1x3o+1x4e")
    assert probe_unreachable(configured(), BASIS.layout, 2) == ()


def test_it_trains():
    configuration = configured(epochs=6)
    trial = replace(synthetic_trial(REFERENCE, configuration), source=source_hash(DEFINED, DEFINE))
    memory = Memory()
    result = train(trial, REFERENCE, memory, device="cpu", traces=Traces())
    losses = [row["value"] for row in memory.curve_rows if row["metric"] == "loss" and row["split"] == "train"]
    assert losses[-1] < 0.9 * losses[0]
    assert "test.epsilon" in result.metrics
    assert {row["layer"] for row in memory.trace_rows} >= {1, 2}


def test_the_study_has_an_arm_of_it_for_each_of_ours():
    study = Study.load(EXAMPLES / "gate_points.toml")
    levels = [(arm.factors["network.hidden.lmax"], arm.configuration.network.define) for arm in study.arms]
    name = "gate_points:GatePoints"
    assert levels == [(0, None), (1, None), (2, None), (0, name), (1, name), (2, name)]
    assert (EXAMPLES / "gate_points.py").exists()
    assert len({arm.configuration.network.hidden.irreps for arm in study.arms}) == 3
