"""A linear map as one operation: what e3nn's modules give, both derivatives, elements without atoms."""

import pytest
import torch
from e3nn import o3
from torch.autograd import gradcheck, gradgradcheck

from tesseral.models.networks.products.element_linear import ElementLinear
from tesseral.models.networks.products.fused.linear import LinearPath, LinearPlan, linear
from tesseral.models.networks.products.linear import Linear
from tesseral.models.networks.seeding import initialising

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
IN, OUT = o3.Irreps("5x0e+3x1o+2x2e+4x1o+2x0o"), o3.Irreps("3x0e+6x1o+2x1e+1x2e")
"""An irrep that enters twice, one that nothing makes, one that makes nothing."""


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["linear", "of elements"])
def test_it_is_e3nns_map(kind, dtype):
    """Relative to the largest number of each tensor."""
    with initialising(0):
        module = (Linear(IN, OUT) if kind == "linear" else ElementLinear(IN, 3, OUT)).to(dtype)
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(7, IN.dim, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    elements = [torch.eye(3, dtype=dtype)[[2, 0, 2, 2, 0, 0, 2]]] if kind == "of elements" else []  # none of the second
    results = []
    for backend in ("reference", "portable", "fused"):
        module.backend = backend
        outputs = module(features, *elements)
        first = torch.autograd.grad(outputs.square().sum(), (features, module.weight), create_graph=True)
        second = torch.autograd.grad(sum(part.square().sum() for part in first), (features, module.weight))
        results.append([part.detach() for part in (outputs, *first, *second)])
    for made in results[1:]:
        for ours, theirs in zip(made, results[0], strict=True):
            assert ours.shape == theirs.shape
            assert float((ours - theirs).abs().max()) <= TOLERANCE[dtype] * float(theirs.abs().max())


def test_gradients_of_both_orders():
    plan = LinearPlan([(3, 2), (1, 3)], [(3, 2)], [LinearPath(0, 0, 2, 2, 0, 0.5)], elements=2).text()
    draw = torch.Generator().manual_seed(0)
    features, weights = (
        torch.randn(*size, generator=draw, dtype=torch.float64).requires_grad_() for size in ((3, 9), (8,))
    )
    species = torch.tensor([1, 0, 1])
    for check in (gradcheck, gradgradcheck):
        assert check(lambda *given: linear(plan, *given, species), (features, weights))


def test_no_atom():
    with initialising(0):
        module = Linear(IN, OUT)
    module.backend = "fused"
    assert module(torch.zeros(0, IN.dim, dtype=torch.float64)).shape == (0, OUT.dim)
