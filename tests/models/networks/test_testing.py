"""The conformance suite on every kind of network: tesseral's by interaction and option, and users' own."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import torch

import tesseral
from tesseral.models.networks import testing
from tesseral.models.networks.graph import Graph
from tesseral.models.networks.network import count_parameters
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.models.networks.testing import NetworkConformance, dimension, predicted_unreachable, small_settings
from tesseral.study.configuration.network import Fusion

NATURAL, BOTH = "3x0e+2x1o+2x2e", "3x0e+2x0o+2x1e+2x1o+2x2e"
ORDER_3 = Fusion(diagram="((neighbours neighbours) centre)", k_max=2, channels=2)
EDGES = Fusion(diagram="(edges (centre neighbours))", channels=2)


class TestGated(NetworkConformance):
    settings = small_settings(NATURAL)


class TestGatedBothParities(NetworkConformance):
    settings = small_settings(BOTH, layers=3)


class TestGatedScalars(NetworkConformance):
    """With layers of features that have no direction."""

    settings = small_settings("4x0e", layers=1, radial_layers=0)


class TestGatedGapsEmbeddedResidual(NetworkConformance):
    settings = small_settings("3x0e+2x2e", embedding=3, residual=True)


class TestGatedBesselLinear(NetworkConformance):
    """As Miller et al."""

    settings = small_settings(NATURAL, radial_basis="bessel", radial_envelope="polynomial", readout="linear")


class TestGatedFusion(NetworkConformance):
    settings = small_settings(NATURAL, fusion=ORDER_3, radial_basis="cosine")


class TestGatedFusionOfEdges(NetworkConformance):
    settings = small_settings("2x0e+2x1o", fusion=EDGES, residual=True)


class TestCormorant(NetworkConformance):
    settings = small_settings(BOTH, interaction="cormorant")


class TestCormorantFusion(NetworkConformance):
    settings = small_settings(NATURAL, interaction="cormorant", fusion=ORDER_3, layers=1, embedding=3)


class TestMaceCorrelation1(NetworkConformance):
    settings = small_settings(NATURAL, interaction="mace", correlation=1, readout="convolution")


class TestMaceCorrelation2(NetworkConformance):
    """Powers of one layer's messages are symmetric: they contain no 1e, however many channels there are."""

    settings = small_settings("3x0e+2x1e+2x1o", interaction="mace", correlation=2, layers=1)


class TestMaceCorrelation3(NetworkConformance):
    settings = small_settings(NATURAL, interaction="mace", correlation=3, embedding=3, residual=True)


class TestMaceWithoutSaturation(NetworkConformance):
    settings = small_settings("2x0e+2x1o", interaction="mace", correlation=2, fusion=ORDER_3, saturation=False)


class TestMaceFusion(NetworkConformance):
    settings = small_settings("2x0e+2x1o", interaction="mace", correlation=2, fusion=EDGES)


class TestBilinear(NetworkConformance):
    settings = small_settings(NATURAL, define="tests.support.bilinear_network:Bilinear")
    # Radial functions × weights of 2 × (3 + 2 + 2) paths; then those of products to 0e, 1e, 1o, 2e, 2o, 3e and 3o.
    expected_parameters = 5 * 2 * 7 + (34 + 8 + 40 + 20 + 8 + 4 + 8)
    compiles, why_not = False, "NotImplementedError"  # of irreps, whose length Dynamo asks for


class TestGatePoints(NetworkConformance):
    settings = small_settings("3x0e+2x1o", layers=1, define="tesseral.study.examples.gate_points:GatePoints")
    # Of each convolution: self-connection, linear map before, radial network, linear map after.
    expected_parameters = (20 + 8 + 6 * (5 + 4) + 28) + (20 + 26 + 6 * (5 + 23) + 70)


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
@pytest.mark.parametrize("readout", ["convolution", "linear"])
def test_hidden_irreps_that_nothing_makes(interaction, readout):
    """Scalars and natural harmonics make no 0o and no axial vector: every output is zero, and that is known."""

    class Unreached(NetworkConformance):
        settings = small_settings("2x0o+2x1e", interaction=interaction, readout=readout, correlation=1)

    assert predicted_unreachable(Unreached) == Unreached.outputs
    network, graph = Unreached.build(seed=0), Unreached.graph()
    assert torch.equal(network(graph), torch.zeros(6, dimension(Unreached.outputs), dtype=torch.float64))
    counted = size(Unreached.configuration(), Shape(elements=2, layout=Unreached.outputs, atoms=6.0, edges=20.0))
    assert (counted.parameters, counted.parameters_live) == (count_parameters(network), 0)


Change = Callable[[torch.Tensor, Graph], torch.Tensor]
"""A change of a network's outputs, given the graph."""


def broken(change: Change) -> NetworkConformance:
    """The suite of a network whose outputs are changed."""

    class Broken(NetworkConformance):
        settings = TestGatedScalars.settings

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
        ("outputs_rotate_with_the_structure", (torch.float32, 1), lambda y, graph: scalars_in_all(y)),
        ("outputs_rotate_with_the_structure", (torch.float64, -1), lambda y, graph: scalars_in_odd(y)),
        ("outputs_rotate_with_the_structure", (torch.float64, 1), lambda y, graph: y.float().double()),
        ("outputs_do_not_depend_on_the_origin", (), lambda y, graph: y + 1e-6 * graph.positions[:, :1]),
        ("outputs_follow_a_permutation_of_atoms", (), lambda y, graph: y.cumsum(dim=0)),
        ("structures_of_a_batch_are_independent", (), lambda y, graph: y + y.mean()),
        ("an_isolated_atom_has_scalar_outputs_only", (), lambda y, graph: scalars_in_all(y)),
        ("a_graph_without_edges", (), lambda y, graph: y / len(graph.source) if len(graph.source) else y * torch.nan),
        ("a_graph_with_one_edge", (), lambda y, graph: scalars_in_odd(y)),
        ("derivatives_with_respect_to_positions", (), lambda y, graph: y * graph.radial.detach().sum()),
        ("derivatives_with_respect_to_weights", (), lambda y, graph: y * y.detach()),
        ("unreachable_outputs_alone_are_zero", (torch.float64,), lambda y, graph: y + 1e-30),
        ("unreachable_outputs_alone_are_zero", (torch.float64,), lambda y, graph: without_scalars(y)),
        ("weights_are_saved_and_loaded", (), lambda y, graph: y * torch.rand(())),
        ("weights_depend_on_the_seed_alone", (), lambda y, graph: y * torch.rand(())),
    ],
)
def test_the_suite_finds_what_is_broken(check, arguments, change):
    sound, suspect = (getattr(broken(one), f"test_{check}") for one in (lambda y, graph: y, change))
    sound(*arguments)
    with pytest.raises((AssertionError, RuntimeError)) as caught:
        suspect(*arguments)
    assert str(caught.value), "a failure says what was expected"


def test_the_suite_counts_a_parameter_too_many():
    class Larger(TestGated):
        @classmethod
        def build(cls, seed: int) -> torch.nn.Module:
            network = super().build(seed)
            network.register_parameter("more", torch.nn.Parameter(torch.zeros(1)))
            return network

    with pytest.raises(AssertionError):
        Larger().test_number_of_parameters()


@pytest.mark.parametrize("stated", [None, 191, 193])
def test_the_suite_counts_a_network_of_ones_own_against_what_is_stated(stated):
    class Other(TestBilinear):
        expected_parameters = stated

    with pytest.raises(AssertionError):
        Other().test_number_of_parameters()


@pytest.mark.parametrize("compiles", [True, False])
def test_the_suite_finds_what_does_not_compile_and_what_does_against_its_word(compiles):
    """Bilinear reads irreps in its forward, which Dynamo cannot trace; `GatedScalars` compiles."""

    class Other(TestBilinear if compiles else TestGatedScalars):
        pass

    Other.compiles = compiles
    torch._dynamo.reset()
    with pytest.raises(
        (AssertionError, NotImplementedError, torch._dynamo.exc.TorchDynamoException, pytest.fail.Exception)
    ):
        Other().test_torch_compile(None)


def test_the_docstrings_example_runs_with_nothing_but_the_installed_package(tmp_path):
    """In a folder of its own, the package's folder alone on the path."""
    files = re.findall(r"in `(\w+\.py)`::\n\n((?:    .*\n|\n)+)", testing.__doc__)
    assert [name for name, _ in files] == ["my_network.py", "test_my_network.py"]
    for name, text in files:
        (tmp_path / name).write_text(dedent(text))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_network.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(tesseral.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = sum(name.startswith("test_") for name in vars(NetworkConformance))
    assert f"{checks + 4} passed" in done.stdout  # one is asked with four pairs of parameters, one with two


def test_without_pytest_the_suite_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ImportError, match="needs pytest: install it with `pip install pytest`"):
        runpy.run_path(testing.__file__)
