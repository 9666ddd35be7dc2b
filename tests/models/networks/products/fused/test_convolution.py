"""A convolution as one operation: what the operations one by one give, and their derivatives."""

import pytest
import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph, join
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.products.fused import convolution
from tesseral.models.networks.products.fused.convolution import _Convolve
from tesseral.study import configuration
from tests.support.small_networks import POSITIONS, SPECIES, asked, built, graph

CPU = torch.device("cpu")
OUTPUTS = "2x0e+1x0o+1x1o+1x2e+1x3o"
NETWORKS = {
    "gated": asked("5x0e+3x0o+4x1o+2x1e+17x2e", harmonics_lmax=2),
    "no scalars": asked("3x1o+2x2e", harmonics_lmax=3),
    "scalars": asked("6x0e", harmonics_lmax=1),
    "embedded": asked("4x0e+4x1o", harmonics_lmax=2, embedding=3, residual=True),
    "no hidden radial layer": asked("4x0e+4x1o", harmonics_lmax=2, radial_layers=0),
    "two of them": asked("4x0e+4x1o", harmonics_lmax=2, radial_layers=2),
    "cormorant": asked("3x0e+3x1o+3x2e", interaction="cormorant", harmonics_lmax=2),
    "mace": asked("3x0e+3x1o", interaction="mace", harmonics_lmax=2, correlation=2),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def structures(settings: configuration.Network, dtype: torch.dtype) -> Graph:
    """One whole; one of a single element, and one atom without neighbours."""
    joined = join(
        [
            graph(settings),
            graph(settings, POSITIONS[:3], SPECIES[:1].repeat(3)),
            graph(settings, POSITIONS[:1], SPECIES[1:2]),
        ]
    )
    return joined.to(CPU, dtype)


def numbers(network: Module, given: Graph) -> list[Tensor]:
    """Outputs, and the gradients of their squares by every weight."""
    outputs = network(given)
    weights = [weight for weight in network.parameters() if weight.numel()]
    gradients = torch.autograd.grad(outputs.square().sum(), weights, allow_unused=True)
    return [outputs.detach(), *(torch.zeros(0) if part is None else part for part in gradients)]


@pytest.fixture
def calls(monkeypatch):
    """Counts how often the operation is run."""
    made = []
    run = _Convolve.apply
    monkeypatch.setattr(_Convolve, "apply", lambda *given: made.append(given[0]) or run(*given))
    return made


@pytest.fixture(params=[2_000_000, 0], ids=["whole", "in parts"])
def cached(request, monkeypatch):
    """Bytes after which a part ends: of small structures never, or after each."""
    forget = convolution.open_convolution.cache_clear
    monkeypatch.setattr(convolution, "CACHED", request.param)
    forget()
    yield request.param
    forget()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.usefixtures("cached")
def test_it_agrees_with_the_operations_one_by_one(kind, dtype, calls):
    settings = NETWORKS[kind]
    network, given = built(settings, outputs=OUTPUTS).to(dtype), structures(settings, dtype)
    choose_backend(network, "reference", CPU)
    expected = numbers(network, given)
    assert not calls
    choose_backend(network, "fused", CPU)
    for ours, theirs in zip(numbers(network, given), expected, strict=True):
        assert ours.shape == theirs.shape
        if theirs.numel():
            assert float((ours - theirs).abs().max()) <= TOLERANCE[dtype] * max(1e-3, float(theirs.abs().max()))
    assert len(calls) >= settings.layers


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 0, 0)], ids=str)
def test_a_batch_is_cut_between_structures_and_nowhere_else(order, cached, monkeypatch):
    """Outputs are those of each structure alone; memory to spare is that of the largest."""
    settings = NETWORKS["gated"]
    network = built(settings, outputs=OUTPUTS).double()
    choose_backend(network, "fused", CPU)
    alone = [
        graph(settings).to(CPU, torch.float64),
        graph(settings, POSITIONS[:3], SPECIES[:1].repeat(3)).to(CPU, torch.float64),
        graph(settings, POSITIONS[:2], SPECIES[:2]).to(CPU, torch.float64),
    ]
    spared: list[int] = []
    opened = convolution.open_convolution

    def seen(text, real):
        operation = opened(text, real)
        size = operation.library.spare_size

        class Library:
            def __getattr__(self, name):
                return getattr(operation.library, name)

            @staticmethod
            def spare_size(*of):
                spared.append(size(*of))
                return spared[-1]

        return operation._replace(library=Library())

    monkeypatch.setattr(convolution, "open_convolution", seen)
    network(alone[0])
    largest = spared[:]
    spared.clear()
    outputs = network(join([alone[number] for number in order]))
    parts = torch.cat([network(alone[number]) for number in order])
    torch.testing.assert_close(outputs, parts, rtol=0, atol=1e-12)
    assert (spared[: len(largest)] == largest) == (not cached)


def test_every_call_gives_the_same_bits():
    settings = NETWORKS["gated"]
    network, given = built(settings, outputs=OUTPUTS).float(), structures(settings, torch.float32)
    choose_backend(network, "fused", CPU)
    first = numbers(network, given)
    for _ in range(3):
        assert all(torch.equal(one, other) for one, other in zip(numbers(network, given), first, strict=True))


@pytest.mark.parametrize("kind", ["gated", "mace"])
def test_edges_may_each_have_weights_of_their_own(kind, calls):
    """As traces ask; the same numbers, which are equal for both directions."""
    settings = NETWORKS[kind]
    network, given = built(settings, outputs=OUTPUTS), structures(settings, torch.float64)
    choose_backend(network, "fused", CPU)
    expected = numbers(network, given)
    apart = numbers(network, given._replace(half=torch.arange(len(given.source))))
    assert len(calls) >= 2 * settings.layers
    for ours, theirs in zip(apart, expected, strict=True):
        assert torch.allclose(ours, theirs if theirs.numel() else torch.zeros_like(ours), rtol=1e-9, atol=1e-12)


def test_a_graph_without_edges():
    settings = NETWORKS["gated"]
    network, lone = built(settings, outputs=OUTPUTS), graph(settings, POSITIONS[:1], SPECIES[:1])
    expected = numbers(network, lone)
    choose_backend(network, "fused", CPU)
    for ours, theirs in zip(numbers(network, lone), expected, strict=True):
        assert torch.allclose(ours, theirs if theirs.numel() else torch.zeros_like(ours), rtol=0, atol=1e-12)


def test_it_stands_aside_where_more_is_asked(calls):
    """Of geometry that a gradient is to reach, and of edges of which no half is named."""
    settings = NETWORKS["gated"]
    network, given = built(settings, outputs=OUTPUTS), structures(settings, torch.float64)
    choose_backend(network, "fused", CPU)
    network(given._replace(half=given.half[:0]))
    network(given._replace(harmonics=given.harmonics.clone().requires_grad_()))
    assert not calls
    network(given)
    assert len(calls) == settings.layers + 1
