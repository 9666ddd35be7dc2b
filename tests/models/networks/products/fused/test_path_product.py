"""Products of features as one operation: what e3nn's products give, both derivatives, threads, what stands aside."""

import pytest
import torch
from e3nn import o3
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from tesseral.models.networks.products.fused import path_product as module
from tesseral.models.networks.products.fused.path_product import path_product
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction
from tesseral.models.networks.seeding import initialising
from tesseral.study.parsing.fusion_tree import comb, parse_tree
from tests.benchmarks.direct import DirectContraction, DirectFusion

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Relative to the largest number of each tensor."""
BOTH = "0e+0o+1o+1e+2e+2o"
CASES = {
    "two trees": ([parse_tree("(centre centre)"), parse_tree("(centre neighbours)")], "0e+1o+2e", "0e+1o+2e+3o", 5),
    "equal leaves, both parities": ([parse_tree("((neighbours neighbours) centre)")], BOTH, BOTH, 8),
    "vertices on both sides": ([parse_tree("((centre neighbours) (centre neighbours))")], "0e+1o", "0e+1o+1e", 13),
    "a single channel": ([comb("centre", 3)], "0e+1o+2e", "0e+1o+2e", 1),
    "a leaf alone": (["centre", comb("centre", 2)], "0e+1o", "0e+1o", 3),
    "l to 6": ([parse_tree("(centre neighbours)")], "1o+5o+6e", "0e+5e+6e+6o", 4),
}


def channels_of(irreps: str, channels: int) -> o3.Irreps:
    return o3.Irreps([(channels, ir) for _, ir in o3.Irreps(irreps)])


def fusion(case: str) -> tuple[FusionProduct, dict[str, o3.Irreps]]:
    trees, entering, roots, channels = CASES[case]
    leaves = dict.fromkeys(("centre", "neighbours"), channels_of(entering, channels))
    with initialising(0):
        return FusionProduct(trees, leaves, o3.Irreps(roots), channels), leaves


def contraction(correlation: int, channels: int = 5, elements: int = 3, made: str = "0e+1o+2e") -> SymmetricContraction:
    irreps = channels_of("0e+1o+2e+3o", channels), channels_of(made, channels)
    with initialising(0):
        return SymmetricContraction(*irreps, correlation=correlation, elements=elements)


def derivatives(outputs: Tensor, *arguments: Tensor) -> list[Tensor]:
    """Outputs, first derivatives of a scalar of them, second ones of a scalar of these."""
    first = torch.autograd.grad(outputs.square().sum(), arguments, create_graph=True)
    second = torch.autograd.grad(torch.stack([part.square().sum() for part in first]).sum(), arguments)
    return [part.detach() for part in (outputs, *first, *second)]


def agree(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert float((one - other).abs().max()) <= tolerance * float(other.abs().max())


def draw(*sizes: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(dtype).requires_grad_()


def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plans that the operation is run with, from now on."""
    made: list[str] = []
    run = module._run
    monkeypatch.setattr(module, "_run", lambda text, *given, **named: made.append(text) or run(text, *given, **named))
    return made


@pytest.mark.parametrize("backend", ["portable", "fused"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_a_diagram_is_e3nns_products(case, dtype, backend, monkeypatch):
    product, leaves = fusion(case)
    with initialising(0):
        direct = DirectFusion(product).to(dtype)
    product.to(dtype).backend = backend
    features = {name: draw(6, irreps.dim, dtype=dtype, seed=n) for n, (name, irreps) in enumerate(leaves.items())}
    features = {name: features[name] for name in product.irreps_leaves}
    calls = count(monkeypatch)
    expected = derivatives(direct(features), *features.values())
    assert not calls
    agree(derivatives(product(features), *features.values()), expected, TOLERANCE[dtype])
    assert len(calls) == (4 if backend == "fused" else 0)  # once there and back, and twice more for the second


@pytest.mark.parametrize("backend", ["portable", "fused"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_a_symmetric_contraction_is_e3nns_products(correlation, dtype, backend):
    ours = contraction(correlation)
    with initialising(0):
        direct = DirectContraction(ours).to(dtype)
    ours.to(dtype).backend = backend
    features = draw(7, ours.irreps_in.dim, dtype=dtype)
    elements = torch.eye(3, dtype=dtype)[[2, 0, 0, 2, 0, 2, 2]]  # no atom of the second
    weights = list(ours.weights)
    expected = derivatives(direct(features, elements), features, *(w for w in weights if w.numel()))
    made = derivatives(ours(features, elements), features, *(w for w in weights if w.numel()))
    agree(made, expected, TOLERANCE[dtype])


def test_gradients_of_both_orders():
    product, leaves = fusion("two trees")
    product.backend = "fused"
    features = [draw(2, irreps.dim, dtype=torch.float64, seed=n) for n, irreps in enumerate(leaves.values())]
    both = [gradcheck, gradgradcheck]
    assert all(check(lambda *x: product(dict(zip(leaves, x, strict=True))), features, fast_mode=True) for check in both)
    power = contraction(3, channels=3, elements=2)
    text, species = power.program, torch.tensor([1, 0])
    weights = draw(2, len(power.scales), 3, dtype=torch.float64)
    x = draw(2, power.irreps_in.dim, dtype=torch.float64, seed=1)
    for check in both:
        assert check(lambda w, x: path_product(text, [x], species, w), (weights, x), fast_mode=True)


def test_sums_have_one_order_however_many_threads():
    power = contraction(3, channels=21).float()
    power.backend = "fused"
    x, elements = draw(40, power.irreps_in.dim, dtype=torch.float32), torch.eye(3)[torch.arange(40) % 3]
    arguments, before = (x, *(w for w in power.weights if w.numel())), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(derivatives(power(x, elements), *arguments)[: 1 + len(arguments)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_an_irrep_that_no_path_reaches_is_zero():
    power = contraction(2, made="0e+0o+1o")
    power.backend = "fused"
    outputs = power(draw(3, power.irreps_in.dim, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    assert (outputs[:, 5:10] == 0).all()
    assert torch.autograd.grad(outputs.square().sum(), power.weights[1], allow_unused=True)[0].shape == (0, 5, 3)


def test_no_atom():
    product, leaves = fusion("two trees")
    product.backend = "fused"
    empty = {name: torch.zeros(0, irreps.dim, dtype=torch.float64) for name, irreps in leaves.items()}
    assert product(empty).shape == (0, product.irreps_out.dim)


def test_it_stands_aside_where_a_network_is_compiled(monkeypatch):
    product, leaves = fusion("two trees")
    product.backend = "fused"
    features = {name: draw(3, irreps.dim, dtype=torch.float64).detach() for name, irreps in leaves.items()}
    expected, calls = product(features), count(monkeypatch)
    torch.testing.assert_close(torch.compile(product, backend="aot_eager", fullgraph=True)(features), expected)
    assert not calls
