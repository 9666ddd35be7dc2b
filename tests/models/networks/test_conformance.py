"""Every network that a study file can name holds to the same: ours by interaction and piece, and users' own."""

from collections.abc import Callable

import pytest
import torch

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.network import parameters
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion
from tests.support.synthetic_density import small_configuration

pytest.register_assert_rewrite("tests.support.network_conformance")

from tests.support.network_conformance import NetworkConformance, dimension, predicted_unreachable  # noqa: E402

NATURAL, BOTH = "3x0e+2x1o+2x2e", "3x0e+2x0o+2x1e+2x1o+2x2e"
ORDER_3 = Fusion(diagram="((neighbours neighbours) centre)", k_max=2, channels=2)
EDGES = Fusion(diagram="(edges (centre neighbours))", channels=2)


def small(hidden: str, **changes: object) -> Configuration:
    return small_configuration(hidden=hidden, **({"radial_functions": 5, "radial_width": 6} | changes))


class TestGated(NetworkConformance):
    configuration = small(NATURAL)


class TestGatedBothParities(NetworkConformance):
    configuration = small(BOTH, layers=3)


class TestGatedScalars(NetworkConformance):
    """With layers of features that have no direction."""

    configuration = small("4x0e", layers=1, radial_layers=0)


class TestGatedGapsEmbeddedResidual(NetworkConformance):
    configuration = small("3x0e+2x2e", embedding=3, residual=True)


class TestGatedBesselLinear(NetworkConformance):
    """As Miller et al."""

    configuration = small(NATURAL, radial_basis="bessel", radial_envelope="polynomial", readout="linear")


class TestGatedFusion(NetworkConformance):
    configuration = small(NATURAL, fusion=ORDER_3, radial_basis="cosine")


class TestGatedFusionOfEdges(NetworkConformance):
    configuration = small("2x0e+2x1o", fusion=EDGES, residual=True)


class TestCormorant(NetworkConformance):
    configuration = small(BOTH, interaction="cormorant")


class TestCormorantFusion(NetworkConformance):
    configuration = small(NATURAL, interaction="cormorant", fusion=ORDER_3, layers=1, embedding=3)


class TestMaceCorrelation1(NetworkConformance):
    configuration = small(NATURAL, interaction="mace", correlation=1, readout="convolution")


class TestMaceCorrelation2(NetworkConformance):
    """What one layer makes of equal features is symmetric: no 1e, of however many channels."""

    configuration = small("3x0e+2x1e+2x1o", interaction="mace", correlation=2, layers=1)


class TestMaceCorrelation3(NetworkConformance):
    configuration = small(NATURAL, interaction="mace", correlation=3, embedding=3, residual=True)


class TestMaceWithoutSaturation(NetworkConformance):
    configuration = small("2x0e+2x1o", interaction="mace", correlation=2, fusion=ORDER_3, saturation=False)


class TestMaceFusion(NetworkConformance):
    configuration = small("2x0e+2x1o", interaction="mace", correlation=2, fusion=EDGES)


class TestBilinear(NetworkConformance):
    configuration = small(NATURAL, define="tests.support.bilinear_network:Bilinear")
    # Radial functions × weights of 2 × (3 + 2 + 2) paths; then those of products to 0e, 1e, 1o, 2e, 2o, 3e and 3o.
    expected_parameters = 5 * 2 * 7 + (34 + 8 + 40 + 20 + 8 + 4 + 8)
    compiles, why_not = False, "NotImplementedError"  # of irreps, whose length Dynamo asks for


class TestGatePoints(NetworkConformance):
    configuration = small("3x0e+2x1o", layers=1, define="tesseral.study.examples.gate_points:GatePoints")
    # Of each convolution: self-connection, linear map before, radial network, linear map after.
    expected_parameters = (20 + 8 + 6 * (5 + 4) + 28) + (20 + 26 + 6 * (5 + 23) + 70)


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
@pytest.mark.parametrize("readout", ["convolution", "linear"])
def test_hidden_irreps_that_nothing_makes(interaction, readout):
    """Scalars and natural harmonics make no 0o and no axial vector: every output is zero, and that is known."""

    class Unreached(NetworkConformance):
        configuration = small("2x0o+2x1e", interaction=interaction, readout=readout, correlation=1)

    assert predicted_unreachable(Unreached) == Unreached.outputs
    network, graph = Unreached.build(seed=0), Unreached.graph()
    assert torch.equal(network(graph), torch.zeros(6, dimension(Unreached.outputs), dtype=torch.float64))
    counted = size(Unreached.configuration, Shape(elements=2, layout=Unreached.outputs, atoms=6.0, edges=20.0))
    assert (counted.parameters, counted.parameters_live) == (parameters(network), 0)


Change = Callable[[torch.Tensor, Graph], torch.Tensor]
"""Of a network's outputs."""


def broken(change: Change) -> NetworkConformance:
    """The suite of a network whose outputs are changed."""

    class Broken(NetworkConformance):
        configuration = TestGatedScalars.configuration

        @classmethod
        def build(cls, seed: int) -> torch.nn.Module:
            network = super().build(seed)
            network.register_forward_hook(lambda module, inputs, outputs: change(outputs, *inputs))
            return network

    return Broken()


def scalars_in_all(outputs: torch.Tensor) -> torch.Tensor:
    """Every column takes 0e: none that turns may."""
    return outputs + outputs[:, :1]


def scalars_in_odd(outputs: torch.Tensor) -> torch.Tensor:
    """0o, the third column, takes 0e: rotations keep it, inversions do not."""
    return outputs + torch.nn.functional.pad(outputs[:, :1], (2, outputs.shape[1] - 3))


def without_scalars(outputs: torch.Tensor) -> torch.Tensor:
    """Both columns of 0e are zero."""
    return outputs.index_fill(1, torch.arange(2), 0.0)


@pytest.mark.parametrize(
    ("check", "arguments", "change"),
    [
        ("outputs_turn_with_the_structure", (torch.float32, 1), lambda y, graph: scalars_in_all(y)),
        ("outputs_turn_with_the_structure", (torch.float64, -1), lambda y, graph: scalars_in_odd(y)),
        ("outputs_turn_with_the_structure", (torch.float64, 1), lambda y, graph: y.float().double()),
        ("outputs_do_not_depend_on_the_origin", (), lambda y, graph: y + 1e-6 * graph.positions[:, :1]),
        ("atoms_in_another_order", (), lambda y, graph: y.cumsum(dim=0)),
        ("structures_of_a_batch_do_not_see_each_other", (), lambda y, graph: y + y.mean()),
        ("an_isolated_atom", (), lambda y, graph: scalars_in_all(y)),
        ("no_edge", (), lambda y, graph: y / len(graph.source) if len(graph.source) else y * torch.nan),
        ("one_edge", (), lambda y, graph: scalars_in_odd(y)),
        ("derivatives_by_positions", (), lambda y, graph: y * graph.radial.detach().sum()),
        ("derivatives_by_weights", (), lambda y, graph: y * y.detach()),
        ("what_is_out_of_reach_is_zero_and_nothing_else", (torch.float64,), lambda y, graph: y + 1e-30),
        ("what_is_out_of_reach_is_zero_and_nothing_else", (torch.float64,), lambda y, graph: without_scalars(y)),
        ("weights_are_kept_and_read", (), lambda y, graph: y * torch.rand(())),
        ("weights_depend_on_the_seed_alone", (), lambda y, graph: y * torch.rand(())),
    ],
)
def test_the_suite_finds_what_is_broken(check, arguments, change):
    sound, suspect = (getattr(broken(one), f"test_{check}") for one in (lambda y, graph: y, change))
    sound(*arguments)
    with pytest.raises((AssertionError, RuntimeError)):
        suspect(*arguments)


def test_the_suite_counts_a_parameter_too_many():
    class Larger(TestGated):
        @classmethod
        def build(cls, seed: int) -> torch.nn.Module:
            network = super().build(seed)
            network.register_parameter("more", torch.nn.Parameter(torch.zeros(1)))
            return network

    with pytest.raises(AssertionError):
        Larger().test_parameters_are_as_many_as_expected()


@pytest.mark.parametrize("stated", [None, 191, 193])
def test_the_suite_counts_a_network_of_ones_own_against_what_is_stated(stated):
    class Other(TestBilinear):
        expected_parameters = stated

    with pytest.raises(AssertionError):
        Other().test_parameters_are_as_many_as_expected()
