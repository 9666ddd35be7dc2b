"""The fused operator against e3nn's product: values, gradients, second derivatives, threads."""

import pytest
import torch
from e3nn import o3
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.fused import autograd
from tesseral.models.networks.products.layout import from_blocks, to_blocks
from tesseral.models.networks.seeding import initialising

WIDE = (o3.Irreps("21x0e+3x0o+9x1o+2x1e+5x2e"), 2, o3.Irreps("0e+0o+1o+1e+2e+2o+3o"))
"""Whole vectors of channels and last ones that begin earlier, in each precision; single channels of a vector."""
HIGH = (o3.Irreps("1x0e+2x3o+1x6e"), 6, o3.Irreps("5o+6e"))
"""l = 6 on each of the three places."""


def built(irreps_in: o3.Irreps, lmax: int, kept: o3.Irreps) -> ChannelProduct:
    with initialising(0):
        return ChannelProduct(irreps_in, lmax, kept)


def two_structures(lmax: int) -> Graph:
    """Of seven atoms and of one, each with another number of neighbours."""
    basis = EdgeBasis(2.5, lmax, 4)
    positions = 1.2 * torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graphs = [build_graph(torch.zeros(n, dtype=torch.int64), positions[:n], 1, basis) for n in (7, 1, 4)]
    return join(graphs)


def arguments(product: ChannelProduct, graph: Graph, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    sizes = (
        (len(graph.species), product.irreps_in.dim),
        graph.harmonics.shape,
        (len(graph.source), product.weight_numel),
    )
    x, y, w = (torch.randn(*size, generator=draw, dtype=torch.float64).to(dtype) for size in sizes)
    return x.requires_grad_(), y.requires_grad_(), w.requires_grad_()


def run(product: ChannelProduct, backend: str, graph: Graph, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    product.backend = backend
    edges = graph.source, graph.destination, graph.reverse
    return from_blocks(product(to_blocks(x, product.shapes), y, w, *edges))


def derivatives(outputs: Tensor, *arguments: Tensor) -> list[Tensor]:
    """Outputs, first derivatives of a scalar of them, second ones of a scalar of these."""
    first = torch.autograd.grad(outputs.square().sum(), arguments, create_graph=True)
    second = torch.autograd.grad(torch.stack([part.square().sum() for part in first]).sum(), arguments)
    return [part.detach() for part in (outputs, *first, *second)]


@pytest.mark.parametrize(
    ("case", "dtype", "tolerance"),
    [(WIDE, torch.float32, 1e-5), (WIDE, torch.float64, 1e-12), (HIGH, torch.float64, 1e-12)],
    ids=["float32", "float64", "l to 6"],
)
def test_it_is_e3nns_product_summed(case, dtype, tolerance):
    """Both derivatives too, by each argument; relative to the largest number of each."""
    product = built(*case).to(dtype)
    graph = two_structures(case[1])
    x, y, w = arguments(product, graph, dtype)
    expected, fused = (derivatives(run(product, each, graph, x, y, w), x, y, w) for each in ("reference", "fused"))
    for ours, theirs in zip(fused, expected, strict=True):
        assert theirs.abs().max() > 0
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


def test_derivatives_agree_with_differences():
    product = built(o3.Irreps("2x0e+1x1o"), 1, o3.Irreps("0e+1o+1e"))
    graph = two_structures(1)
    inputs = arguments(product, graph, torch.float64)
    assert gradcheck(lambda x, y, w: run(product, "fused", graph, x, y, w), inputs)
    assert gradgradcheck(lambda x, y, w: run(product, "fused", graph, x, y, w), inputs, fast_mode=True)


def test_an_edge_and_its_reverse_may_share_weights():
    """The same outputs and gradients as with a row of weights for each of the two."""
    product = built(*WIDE)
    graph = two_structures(2)
    x, y, w = arguments(product, graph, torch.float64)
    of_pairs = w.detach()[graph.half].requires_grad_()
    row = torch.zeros(len(graph.source), dtype=torch.int64)
    row[graph.half] = torch.arange(len(graph.half))
    row[graph.reverse[graph.half]] = torch.arange(len(graph.half))
    shared = derivatives(run(product, "fused", graph, x, y, of_pairs), x, y, of_pairs)
    each = derivatives(run(product, "reference", graph, x, y, of_pairs[row]), x, y, of_pairs)
    assert len(graph.half) * 2 == len(graph.source) > 0
    for ours, theirs in zip(shared, each, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max()))


def test_threads_change_no_bit():
    product, graph = built(*WIDE).to(torch.float32), two_structures(2)
    inputs = arguments(product, graph, torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(derivatives(run(product, "fused", graph, *inputs), *inputs)[0:4])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for more in results[1:] for one, other in zip(results[0], more, strict=True))


def test_custom_operators_are_the_functions(monkeypatch):
    """Of what torch's compiler is given, too: values, first and second derivatives, in every bit."""
    product, graph = built(*WIDE), two_structures(2)
    inputs = arguments(product, graph, torch.float64)
    functions = derivatives(run(product, "fused", graph, *inputs), *inputs)
    monkeypatch.setattr(autograd, "_FUNCTIONS", autograd._OPERATORS)
    outputs = run(product, "fused", graph, *inputs)
    behind, names = [outputs.grad_fn], set()
    while behind:
        node = behind.pop()
        names.add(type(node).__name__)
        behind += [before for before, _ in node.next_functions if before is not None]
    assert any(name.startswith("GeneratedBackwardFor_tesseral_couple") for name in names)
    operators = derivatives(outputs, *inputs)
    assert all(torch.equal(one, other) for one, other in zip(functions, operators, strict=True))


def test_tensors_without_memory_have_shapes():
    """On no device is an address given to the C++ that is none of this machine's memory."""
    product, graph = built(*WIDE), two_structures(2)
    x, y, w = (part.detach() for part in arguments(product, graph, torch.float64))
    expected = run(product, "fused", graph, x, y, w)
    meta = type(graph)(*(part.to("meta") for part in graph))
    outputs = run(product.to("meta"), "fused", meta, x.to("meta"), y.to("meta"), w.to("meta"))
    assert outputs.device.type == "meta"
    assert outputs.shape == expected.shape


def test_torch_compile_sees_through():
    """Fake tensors have the shapes of real ones, and the derivative is that of the operators."""
    product, graph = built(o3.Irreps("2x0e+1x1o"), 1, o3.Irreps("0e+1o+1e")), two_structures(1)
    inputs = arguments(product, graph, torch.float64)
    torch._dynamo.reset()
    compiled = torch.compile(lambda *of: run(product, "fused", graph, *of), backend="aot_eager", fullgraph=True)
    expected, got = (f(*inputs) for f in (lambda *of: run(product, "fused", graph, *of), compiled))
    assert torch.equal(expected, got)
    pair = (torch.autograd.grad(each.square().sum(), inputs) for each in (expected, got))
    assert all(torch.equal(one, other) for one, other in zip(*pair, strict=True))
