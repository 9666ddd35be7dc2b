"""Every kind of network on every backend: the same outputs, gradients and second derivatives, and the same weights."""

import warnings

import pytest
import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.compiled.library import NoLibraryError
from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions, build_graph, join
from tesseral.models.networks.products import backend as backend_module
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.products.channel_product import BACKENDS, ChannelProduct
from tesseral.study import configuration
from tesseral.study.configuration.network import Fusion
from tesseral.study.errors import TesseralError
from tests.support.periodic_structures import CELL, PLACES
from tests.support.small_networks import POSITIONS, SPECIES, asked, built, graph

CPU = torch.device("cpu")
OUTPUTS = "2x0e+1x0o+1x1o+1x2e+1x3o"
NETWORKS = {
    "gated": asked("5x0e+3x0o+4x1o+2x2e", harmonics_lmax=2),
    "cormorant": asked("3x0e+3x1o+3x2e", interaction="cormorant", harmonics_lmax=2),
    "mace": asked("3x0e+3x1o", interaction="mace", harmonics_lmax=2, correlation=2),
    "fusion": asked("3x0e+3x1o", fusion=Fusion(diagram="(neighbours (centre edges))"), harmonics_lmax=2),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Relative to the largest number of each tensor."""


def three_structures(settings: configuration.Network, dtype: torch.dtype) -> Graph:
    """Two molecules, and a cell so small that atoms are their own neighbours and pairs are joined by several edges."""
    edges = EdgeBasis.from_settings(settings)
    cell = build_graph(torch.tensor([0, 1, 1]), torch.tensor(PLACES), 2, edges, cell=CELL)
    assert (cell.source == cell.destination).any()
    joined = join([graph(settings), cell, graph(settings, 1.1 * POSITIONS[:3], SPECIES[:3])])
    return Graph(*(part.to(dtype) if part.is_floating_point() else part for part in joined))


def numbers(network: Module, settings: configuration.Network, dtype: torch.dtype) -> list[Tensor]:
    """Outputs; forces; the gradients of a loss of both by every weight."""
    still = three_structures(settings, dtype)
    positions = still.positions.clone().requires_grad_()
    moved = at_positions(still, positions, EdgeBasis.from_settings(settings))
    outputs = network(moved)
    (forces,) = torch.autograd.grad(outputs.sum(), positions, create_graph=True)
    weights = [weight for weight in network.parameters() if weight.numel()]
    gradients = torch.autograd.grad(outputs.square().sum() + forces.square().sum(), weights, allow_unused=True)
    return [outputs, forces, *(part for part in gradients if part is not None)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_all_backends_agree(kind, dtype):
    settings = NETWORKS[kind]
    network = built(settings, outputs=OUTPUTS).to(dtype)
    results, states = {}, {}
    for backend in BACKENDS:
        choose_backend(network, backend, CPU)
        assert {m.backend for m in network.modules() if isinstance(m, ChannelProduct)} == {backend}
        results[backend], states[backend] = numbers(network, settings, dtype), set(network.state_dict())
    assert states["reference"] == states["portable"] == states["fused"]
    for backend in ("portable", "fused"):
        for ours, theirs in zip(results[backend], results["reference"], strict=True):
            assert float((ours - theirs).detach().abs().max()) <= TOLERANCE[dtype] * float(theirs.detach().abs().max())


def test_auto_is_the_operator_on_cpus():
    network = built(NETWORKS["gated"], outputs=OUTPUTS)
    choose_backend(network, "auto", CPU)
    assert network.layers[1].convolution.messages.product.backend == "fused"
    choose_backend(network, "auto", torch.device("cuda"))
    assert network.layers[1].convolution.messages.product.backend == "portable"


def test_without_a_compiler_auto_is_portable_and_says_so_once(monkeypatch):
    def fails(*of: str) -> None:
        raise NoLibraryError("expected a C++ compiler, found none")

    monkeypatch.setattr(backend_module, "open_operator", fails)
    backend_module.say.cache_clear()
    network = built(NETWORKS["gated"], outputs=OUTPUTS)
    with pytest.warns(UserWarning, match="computed by PyTorch, which is slower: expected a C"):
        choose_backend(network, "auto", CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_backend(network, "auto", CPU)
    assert network.layers[1].convolution.messages.product.backend == "portable"
    with pytest.raises(NoLibraryError):
        choose_backend(network, "fused", CPU)


def test_mistakes_are_sentences():
    network = built(NETWORKS["gated"], outputs=OUTPUTS)
    with pytest.raises(TesseralError, match="expected auto or one of reference, portable, fused, got 'fast'"):
        choose_backend(network, "fast", CPU)
    with pytest.raises(TesseralError, match="expected auto, reference or portable on cuda, got 'fused'"):
        choose_backend(network, "fused", torch.device("cuda"))


def test_a_graph_without_reverse_edges_is_portable():
    """A directed edge alone: the operator, which needs each edge's reverse, is not asked."""
    settings = NETWORKS["gated"]
    network, whole = built(settings, outputs=OUTPUTS), graph(settings)
    none, kept = whole.reverse[:0], whole.source < whole.destination
    fields = {name: getattr(whole, name)[kept] for name in ("source", "destination", "harmonics", "radial")}
    directed = whole._replace(**fields, reverse=none, half=none)
    expected = network(directed)
    choose_backend(network, "fused", CPU)
    assert torch.allclose(network(directed), expected, rtol=0, atol=1e-12)
