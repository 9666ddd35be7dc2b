"""Sizes by arithmetic, against networks that were built: equal to the last parameter and operation."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph
from tesseral.models.networks.network import Network
from tesseral.models.networks.products.backend import count_as_e3nn
from tesseral.models.networks.sizing.probe import measure_size
from tesseral.models.networks.sizing.size import FORCES, Shape, Size, size
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion
from tesseral.study.configuration.target import Target
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tests.support.synthetic_density import small_configuration

WATER = parse_irreps("12x0e+5x1o+4x2e+2x3o+1x4e")
"""Layout of def2-universal-jfit on oxygen and hydrogen, decontracted."""


@pytest.fixture(autouse=True)
def _precise() -> Iterator[None]:
    """Networks are built in float64, as `build_network` builds them."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


def irreps(most: int, lmax: int, mul: int) -> st.SearchStrategy[tuple[MulIrrep, ...]]:
    """Any set of l and parities: gaps, no scalars, unnatural ones alone."""
    kinds = st.tuples(st.integers(0, lmax), st.sampled_from([1, -1]))
    terms = st.tuples(st.integers(1, mul), kinds).map(lambda term: MulIrrep(term[0], *term[1]))
    return st.lists(terms, min_size=1, max_size=most, unique_by=lambda term: term[1:]).map(
        lambda drawn: parse_irreps(format_irreps(drawn))
    )


def build(configuration: Configuration, elements: int, layout: tuple[MulIrrep, ...], seed: int) -> Network:
    torch.manual_seed(seed)
    outputs = o3.Irreps(format_irreps(layout))
    return Network(configuration.network, elements=elements, irreps_out=outputs, num_neighbors=4.0)


def geometry(configuration: Configuration, elements: int, seed: int) -> Graph:
    """Nine atoms without symmetry, at least three of each element."""
    generator = torch.Generator().manual_seed(seed)
    network = configuration.network
    return build_graph(
        torch.arange(9) % elements,
        1.3 * torch.randn(9, 3, generator=generator),
        elements,
        EdgeBasis(4.0, network.harmonics_lmax, network.radial_functions),
    )


def shape_of(graph: Graph, elements: int, layout: tuple[MulIrrep, ...]) -> Shape:
    return Shape(elements, layout, atoms=len(graph.species), edges=len(graph.source))


def touched(network: Network, graph: Graph) -> list[torch.Tensor]:
    """For each parameter, a mask of the entries with a nonzero gradient."""
    network.zero_grad()
    output = network(graph)
    if output.requires_grad:
        (torch.randn_like(output) * output).sum().backward()
    return [torch.zeros_like(w) > 0 if w.grad is None else w.grad != 0 for w in network.parameters()]


def read_components(network: Network, graph: Graph) -> list[torch.Tensor]:
    """For each layer, a mask of the components that a gradient reaches."""
    features: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda *call: features.append(call[-1])) for layer in network.layers]
    output = network(graph)
    for hook in hooks:
        hook.remove()
    if not output.requires_grad:
        return [torch.zeros(part.shape[1]) > 0 for part in features]
    gradients = torch.autograd.grad((torch.randn_like(output) * output).sum(), features)
    return [(gradient != 0).any(dim=0) for gradient in gradients]


def operations(network: Network, graph: Graph) -> int:
    count_as_e3nn(network)
    with FlopCounterMode(display=False) as counter:
        output = network(graph)
        if output.requires_grad:
            output.sum().backward()
    return counter.get_total_flops()


def measured(configuration: Configuration, elements: int, layout: tuple[MulIrrep, ...], seed: int) -> Size:
    """The size of a network that was built, in three draws: united, so that no chance zero counts."""
    draws = []
    for draw in range(seed, seed + 3):
        network, graph = build(configuration, elements, layout, draw), geometry(configuration, elements, draw)
        draws.append(touched(network, graph))
    return Size(
        parameters=sum(weights.numel() for weights in network.parameters()),
        parameters_live=sum(int((a | b | c).sum()) for a, b, c in zip(*draws, strict=True)),
        components=max(int(read.sum()) for read in read_components(network, graph)),
        flops=operations(network, graph),
    )


@settings(max_examples=25, deadline=None)
@given(
    hidden=irreps(5, 3, 4),
    layout=irreps(4, 4, 3),
    layers=st.integers(1, 4),
    harmonics=st.integers(0, 3),
    radial=st.integers(0, 2),
    elements=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_any_network(hidden, layout, layers, harmonics, radial, elements, seed):
    configuration = small_configuration(
        hidden=format_irreps(hidden), layers=layers, harmonics_lmax=harmonics, radial_layers=radial, batch_size=1
    )
    expected = measured(configuration, elements, layout, seed)
    # The geometry of the operations counted is that of the last draw.
    shape = shape_of(geometry(configuration, elements, seed + 2), elements, layout)
    assert size(configuration, shape) == expected


@pytest.mark.parametrize(
    ("hidden", "changes"),
    [
        ("125x0e+125x0o", {"layers": 2}),
        ("125x0e+40x1o+25x2e", {"layers": 3}),
        ("125x0e+125x0o+40x1e+40x1o+25x2e+25x2o+15x3e+15x3o", {"layers": 2, "harmonics_lmax": 3}),
        ("42x0e+14x1o+8x2e", {"layers": 3, "radial_layers": 2, "radial_width": 64}),
    ],
)
def test_published_widths(hidden, changes):
    configuration = small_configuration(hidden=hidden, batch_size=1, **changes)
    network, graph = build(configuration, 2, WATER, 0), geometry(configuration, 2, 0)
    counted = size(configuration, shape_of(graph, 2, WATER))
    assert counted.parameters == sum(weights.numel() for weights in network.parameters())
    assert counted.flops == operations(network, graph)


def test_scalars_by_hand():
    """One layer of scalars without directions: the self-connection of the first layer is live where u = z."""
    configuration = small_configuration(hidden="3x0e", layers=1, harmonics_lmax=0, radial_width=8)
    elements, hidden, scalars = 2, 3, 12
    first = elements**2 + (6 * 8 + 8 * elements) + elements * hidden
    output = hidden * elements * scalars + hidden**2 + (6 * 8 + 8 * hidden) + hidden * scalars
    counted = size(configuration, Shape(elements, WATER, atoms=6.0, edges=20.0))
    assert counted.parameters == first + elements * elements * hidden + output
    assert counted.parameters_live == first + elements * hidden + output
    assert counted.components == hidden


def test_pseudoscalars_of_the_last_layer_are_dead():
    """No path leads from 0o to natural parities at once, and only the third layer makes any: they are of no use."""
    with_them, without = (
        size(small_configuration(hidden=text, layers=3), Shape(2, WATER, atoms=6.0, edges=20.0))
        for text in ("6x0e+5x0o+4x1e+4x1o", "6x0e+4x1e+4x1o")
    )
    assert with_them.parameters > without.parameters
    assert with_them.parameters_live == without.parameters_live
    assert with_them.components == without.components == 6 + 12 + 12


@pytest.mark.parametrize(
    ("hidden", "components"), [("128x0e", 128), ("64x0e+21x1o", 127), ("42x0e+14x1o+8x2e", 124), ("4x2o", 0)]
)
def test_components_of_the_widest_layer(hidden, components):
    """Miller's networks of equal size, and one that makes nothing."""
    counted = size(small_configuration(hidden=hidden, layers=3), Shape(2, WATER, atoms=6.0, edges=20.0))
    assert counted.components == components
    assert (counted.parameters_live > 0) == (components > 0)


def test_operations_follow_the_batch():
    configuration = small_configuration(batch_size=1)
    one = size(configuration, Shape(2, WATER, atoms=6.0, edges=20.0)).flops
    atoms = size(configuration, Shape(2, WATER, atoms=1.0, edges=0.0)).flops
    edges = size(configuration, Shape(2, WATER, atoms=0.0, edges=1.0)).flops
    assert one == 6 * atoms + 20 * edges
    four = replace(configuration, training=replace(configuration.training, batch_size=4))
    assert size(four, Shape(2, WATER, atoms=6.0, edges=20.0)).flops == 4 * one


def test_nothing_but_dead_weights():
    """Vectors that lead to no output: the network is built and run forward, and nothing can train it."""
    configuration = small_configuration(hidden="3x0e", harmonics_lmax=1, batch_size=1)
    layout = parse_irreps("2x4e")
    network, graph = build(configuration, 2, layout, 0), geometry(configuration, 2, 0)
    counted = size(configuration, shape_of(graph, 2, layout))
    assert not network(graph).requires_grad
    assert counted.parameters > counted.parameters_live == counted.components == 0
    assert counted.flops == operations(network, graph) > 0


NARROW = {"layers": 1, "radial_width": 8}
FUSION = Fusion(diagram="(((neighbours centre) edges) neighbours)", k_max=1, channels=4)


@pytest.mark.parametrize(
    ("hidden", "changes", "expected"),
    [
        ("24x0e+8x1o+8x2e", {}, 2.17),
        ("24x0e+8x0o+8x1o+8x1e", {"layers": 3}, 2.15),
        ("16x0e+8x1o", {"fusion": FUSION}, 2.24),
        ("24x0e+8x1o+8x2e", {"interaction": "cormorant"}, 2.16),
        ("24x0e+8x1o+8x2e", {"interaction": "mace", "correlation": 2}, 2.15),
        ("24x0e+8x1o+8x2e", {"interaction": "mace", "correlation": 3}, 2.04),
        ("4x0e+4x1o+4x2e+4x3o", NARROW | {"interaction": "mace", "harmonics_lmax": 3}, 1.76),
        ("2x0e+2x1o", NARROW, 2.65),
        ("1x0e", {"layers": 1, "radial_width": 1, "radial_layers": 0, "harmonics_lmax": 0}, 2.77),
    ],
)
def test_a_step_on_forces_against_one_on_energies(hidden, changes, expected):
    """By torch's counter, on a batch of 24 atoms: within what `size` says, and mostly what it takes."""
    configuration = replace(
        small_configuration(
            hidden=hidden, define="tesseral.models.networks.network:Network", batch_size=1,
            **({"radial_functions": 10, "radial_width": 128} | changes),
        ),
        target=Target(quantity="energy"),
    )  # fmt: skip
    shape = Shape(3, parse_irreps("1x0e"), atoms=24.0, edges=120.0)
    energies, forces = (
        measure_size(replace(configuration, target=Target(quantity=quantity)), shape).flops
        for quantity in ("energy", "forces")
    )
    ours = replace(configuration, network=replace(configuration.network, define=None))
    counted = [size(replace(ours, target=Target(quantity=each)), shape).flops for each in ("energy", "forces")]
    assert counted == [energies, FORCES * energies]
    assert forces / energies == pytest.approx(expected, abs=0.01)
    assert 1.7 < forces / energies < 2.9
    usual = 2.1 < expected < 2.3
    assert not usual or counted[1] == pytest.approx(forces, rel=0.03)


def test_counting_needs_no_torch():
    modules = "tesseral.models.networks.sizing.size, tesseral.models.data.data_shape"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
