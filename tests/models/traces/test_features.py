"""Feature traces: closed forms on plain layers, invariance, and networks that know nothing of tracing."""

import pytest
import torch
from e3nn import o3
from e3nn.nn.models.gate_points_2101 import Network as StockNetwork
from torch.nn import Module, ModuleList

from tesseral.models.networks.graph import EdgeBasis, build_graph
from tesseral.models.networks.network import build_network
from tesseral.models.traces.features import trace_features
from tesseral.models.traces.layers import find_layers
from tests.support.synthetic_density import BASIS, rotations, small_configuration

SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])


@pytest.fixture
def positions() -> torch.Tensor:
    return 1.2 * torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


class Fixed(Module):
    """Returns what it was given at its creation."""

    def __init__(self, irreps: str, values: torch.Tensor) -> None:
        super().__init__()
        self.irreps_out, self.values = o3.Irreps(irreps), values

    def forward(self, graph):
        return self.values


class Stack(Module):
    """Calls its layers; the last one makes the output."""

    def __init__(self, *layers: Module) -> None:
        super().__init__()
        self.parts = ModuleList(layers)

    def forward(self, graph):
        return [layer(graph) for layer in self.parts][-1]


def test_statistics_in_closed_form():
    values = torch.tensor([[3.0, 0.0, 4.0, 0.0, 1.0], [0.0, 0.0, 0.0, 2.0, -1.0]])
    network = Stack(Fixed("1x0e+1x1o+1x0e", values), Fixed("1x0e", values[:, :1]))
    scalars, vectors = trace_features(network, None)
    assert (scalars.layer, scalars.l, scalars.p) == (1, 0, 1)
    assert scalars.rms == pytest.approx((11 / 4) ** 0.5)  # 3² + 1² + 1² over 2 atoms × 2 copies
    assert vectors.rms == pytest.approx((20 / 6) ** 0.5)
    assert (scalars.share, vectors.share) == pytest.approx((11 / 31, 20 / 31))


def test_features_that_vanish_have_no_share():
    traced = trace_features(Stack(Fixed("1x0e+1x1o", torch.zeros(2, 4)), Fixed("1x0e", torch.zeros(2, 1))), None)
    assert [(feature.rms, feature.share) for feature in traced] == [(0.0, 0.0)] * 2


def test_a_layer_that_does_not_return_its_irreps_is_refused():
    network = Stack(Fixed("2x0e", torch.zeros(2, 3)), Fixed("1x0e", torch.zeros(2, 1)))
    with pytest.raises(TypeError, match="expected layer 1 to return a tensor of its irreps_out 2x0e"):
        trace_features(network, None)


@pytest.mark.parametrize("parity", [1, -1])
def test_traces_do_not_turn_with_the_input(positions, parity):
    import numpy as np

    network = build_network(small_configuration().network, 2, BASIS.layout, num_neighbors=4.0, seed=1)
    rotation = torch.from_numpy(rotations(1, np.random.default_rng(2))[0]) * parity
    first, second = (
        trace_features(network, build_graph(SPECIES, x, 2, EdgeBasis(cutoff=3.5, lmax=2, number=6)))
        for x in (positions, positions @ rotation.T + 1)
    )
    assert [feature[:3] for feature in first] == [feature[:3] for feature in second]
    assert {feature.layer for feature in first} == {1, 2}
    for one, other in zip(first, second, strict=True):
        assert one[3:] == pytest.approx(other[3:], rel=1e-9)
    for layer in (1, 2):
        assert sum(feature.share for feature in first if feature.layer == layer) == pytest.approx(1)


def test_tracing_changes_nothing(positions):
    network = build_network(small_configuration().network, 2, BASIS.layout, num_neighbors=4.0, seed=1)
    graph = build_graph(SPECIES, positions, 2, EdgeBasis(cutoff=3.5, lmax=2, number=6))
    before = network(graph)
    trace_features(network, graph)
    assert torch.equal(network(graph), before)
    assert not any(layer._forward_hooks for layer in network.modules())


def test_a_stock_network_is_traced_unchanged(positions):
    """e3nn's own network states its irreps, and that is enough."""

    class Adapter(Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = StockNetwork(
                "2x0e", "4x0e+3x1o", "1x0e", "2x0e", o3.Irreps.spherical_harmonics(1), 2, 3.5, 5, 1, 8, 4.0, 1.0
            )

        def forward(self, graph):
            return self.inner({"pos": positions.float(), "x": graph.elements, "z": graph.elements})

    graph = build_graph(SPECIES, positions.float(), 2, EdgeBasis(cutoff=3.5, lmax=1, number=5))
    network = Adapter()
    layers = find_layers(network, graph)
    assert [str(layer.irreps_out) for layer in layers.hidden] == ["4x0e+3x1o"] * 2 + ["1x0e"]
    assert layers.output is None  # it adds up what its last part makes
    features = trace_features(network, graph)
    assert [feature[:3] for feature in features] == [(1, 0, 1), (1, 1, -1), (2, 0, 1), (2, 1, -1), (3, 0, 1)]
    assert all(feature.rms > 0 for feature in features)
    network.inner.reduce_output = False
    assert find_layers(network, graph) == (list(network.inner.layers)[:2], network.inner.layers[2])


@pytest.mark.parametrize("pieces", [{}, {"interaction": "cormorant"}, {"interaction": "mace", "correlation": 2}])
@pytest.mark.parametrize("further", [{}, {"residual": True}, {"embedding": 4}, {"readout": "linear"}])
def test_the_layers_of_our_networks_are_those_of_their_lists(positions, pieces, further):
    settings = small_configuration(hidden="4x0e+4x1o", layers=3, **pieces, **further).network
    network = build_network(settings, 2, BASIS.layout, num_neighbors=4.0, seed=1)
    graph = build_graph(SPECIES, positions, 2, EdgeBasis(cutoff=3.5, lmax=2, number=6))
    assert find_layers(network, graph) == (list(network.layers), network.output)


def test_layers_depend_on_neither_weights_nor_structures(positions):
    network = build_network(small_configuration().network, 2, BASIS.layout, num_neighbors=4.0, seed=1)
    graph = build_graph(SPECIES, positions, 2, EdgeBasis(cutoff=3.5, lmax=2, number=6))
    alone = build_graph(SPECIES[:1], positions[:1], 2, EdgeBasis(cutoff=3.5, lmax=2, number=6))
    before = find_layers(network, graph)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    assert find_layers(network, alone) == before == find_layers(network, graph)


class Part(Module):
    """A linear map that states what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.irreps_out, self.linear = o3.Irreps("2x0e"), o3.Linear("2x0e", "2x0e")

    def forward(self, features):
        return self.linear(features)


class Parts(Module):
    """Parts by name, called in another order than that of their registration."""

    def __init__(self, names: list[str], order: list[str], head: Module | None = None) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, Part())
        self.order, self.head = order, head

    def forward(self, graph):
        features = torch.ones(3, 2)
        for name in self.order:
            features = getattr(self, name)(features)
        return features if self.head is None else self.head(features)


class Wrapped(Module):
    """A network that states its irreps, and is given a graph."""

    def __init__(self, network: Module, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        network.irreps_out = o3.Irreps("2x0e")

    def forward(self, graph):
        outputs = self.network(graph)
        return outputs if self.scale == 1 else self.scale * outputs


@pytest.mark.parametrize(
    ("names", "order", "head", "hidden", "output"),
    [
        ("ab", "ab", None, "a", "b"),
        ("ab", "ab", torch.nn.Linear(2, 1), "ab", None),
        ("a", "a", torch.nn.Linear(2, 1), "a", None),
        ("rab", "abr", None, "ab", "r"),
        ("ba", "aab", None, "a", "b"),
        ("abc", "ac", None, "a", "c"),
    ],
    ids=["a stack", "a foreign head", "one layer and such a head", "readout first", "twice", "one not called"],
)
@pytest.mark.parametrize("scale", [None, 1, 2])
def test_layers_are_in_the_order_of_their_call(names, order, head, hidden, output, scale):
    inner = Parts(list(names), list(order), head)
    layers = find_layers(inner if scale is None else Wrapped(inner, scale), None)
    expected = [getattr(inner, name) for name in (order if scale == 2 and output else hidden)]
    assert layers.hidden == list(dict.fromkeys(expected))
    assert layers.output is (None if output is None or scale == 2 else getattr(inner, output))
    assert not any(module._forward_hooks for module in inner.modules())


def ranks(values: torch.Tensor, irreps: str) -> list[float]:
    """Effective rank of each (l, p) of one layer that returns `values`."""
    traced = trace_features(Stack(Fixed(irreps, values), Fixed("1x0e", values[:, :1])), None)
    return [feature.effective_rank for feature in traced]


def test_effective_rank_in_closed_form():
    """Two orthogonal channels of squared norms a and b: exp(H(a/(a+b)))."""
    values = torch.tensor([[2.0, 0.0], [0.0, 1.0]])  # atoms × channels
    q = 4 / 5
    assert ranks(values, "2x0o") == pytest.approx([q**-q * (1 - q) ** (q - 1)])
    assert ranks(values / 2 ** torch.arange(2), "2x0o") != pytest.approx(ranks(values, "2x0o"))
    assert ranks(1e-20 * values, "2x0o") == pytest.approx(ranks(values, "2x0o"))


def test_invariants_are_centred_over_atoms():
    """Whatever is added to a channel on every atom; of what does not differ among atoms nothing is left."""
    values = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    q = 4 / 5
    expected = q**-q * (1 - q) ** (q - 1)
    for shift in (0.0, 3.0, torch.tensor([100.0, -7.0])):
        assert ranks(values + shift, "2x0e") == pytest.approx([expected])
    assert ranks(values + 3, "2x0o") != pytest.approx([expected], rel=0.1)
    assert ranks(torch.full((7, 3), 0.1), "3x0e") == [0]
    assert ranks(torch.full((7, 3), 0.1), "3x0o") == pytest.approx([1])


def test_parities_are_matrices_of_their_own():
    by_irrep = ranks(torch.eye(8)[:, :6], "2x0o+4x0e")
    assert by_irrep == pytest.approx([2, ranks(torch.eye(8)[:, 2:6], "4x0e")[0]])


@pytest.mark.parametrize("n", [1, 3, 8])
def test_effective_rank_of_equal_directions_is_their_number(n):
    atoms = torch.eye(8)[:, :n]
    assert ranks(torch.cat([atoms, atoms], dim=1), f"{2 * n}x0o") == pytest.approx([n])
    assert ranks(torch.cat([atoms, -atoms]), f"{n}x0e") == pytest.approx([n])
    assert ranks(torch.ones(5, n), f"{n}x0o") == pytest.approx([1])
    assert ranks(torch.zeros(5, n), f"{n}x0e") == [0]


def test_effective_rank_counts_channels_and_not_components():
    """One channel of vectors is of rank 1 whatever way they point; channels that stand apart are of one irrep."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(20, 3, generator=draw, dtype=torch.float64)
    assert ranks(vectors, "1x1o") == pytest.approx([1])
    assert ranks(torch.cat([vectors, 2 * vectors], dim=1), "1x1o+1x1o") == pytest.approx([1])
    many = torch.randn(3, 6, generator=draw, dtype=torch.float64)  # three atoms: no more than three directions
    assert 2 < ranks(many, "6x0o")[0] <= 3
    assert 1 < ranks(many, "6x0e")[0] <= 2


def test_effective_rank_of_what_is_not_finite_is_none():
    assert torch.tensor(ranks(torch.tensor([[1.0, float("inf")]]), "2x0e")).isnan().all()
