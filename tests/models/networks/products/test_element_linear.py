"""The self-connection against e3nn's product with the one-hot."""

from copy import deepcopy

import pytest
import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.products.element_linear import ElementLinear
from tesseral.models.networks.seeding import initialising


@pytest.mark.parametrize("made", ["7x0e+2x1o+3x1e+2x2e", "3x3o"], ids=["some that do not enter", "none that enters"])
def test_it_is_e3nns_product(made):
    """Outputs, and their first and second derivatives by features and weights; float64."""
    with initialising(0):
        linear = ElementLinear(o3.Irreps("5x0e+3x0o+4x1o+2x2e"), 3, o3.Irreps(made))
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(6, linear.irreps_in1.dim, dtype=torch.float64, generator=draw).requires_grad_()
    elements = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 1]), 3).double()
    results = []
    for backend in ("reference", "portable"):
        linear.backend = backend
        results.append(derivatives(linear(features, elements), [features, linear.weight]))
    for theirs, ours in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12 * max(1.0, float(theirs.abs().max())))


def test_a_copy_is_equal():
    """Averaged weights are kept in one."""
    with initialising(0):
        linear = ElementLinear(o3.Irreps("2x0e+1x1o"), 2, o3.Irreps("2x0e+1x1o"))
    features, elements = torch.randn(3, 5, dtype=torch.float64), torch.eye(2, dtype=torch.float64)[[0, 1, 1]]
    assert torch.equal(deepcopy(linear)(features, elements), linear(features, elements))


def derivatives(outputs: Tensor, arguments: list[Tensor]) -> list[Tensor]:
    if not outputs.requires_grad:
        return [outputs]
    first = torch.autograd.grad(outputs.square().sum(), arguments, create_graph=True)
    second = torch.autograd.grad(torch.stack([part.square().sum() for part in first]).sum(), arguments)
    return [part.detach() for part in (outputs, *first, *second)]
