"""The linear map of blocks against e3nn's."""

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.products.block_linear import BlockLinear
from tesseral.models.networks.products.layout import from_blocks, to_blocks
from tesseral.models.networks.seeding import initialising


@pytest.mark.parametrize("made", ["7x0e+2x1o+3x1e+2x2e", "3x3o"], ids=["some that do not enter", "none that enters"])
def test_it_is_e3nns_linear_map(made):
    """The same initial weights under the same names, outputs and gradients, by blocks and whole; float64."""
    entering = o3.Irreps("5x0e+3x0o+4x1o+2x2e")
    with initialising(0):
        ours = BlockLinear(entering, o3.Irreps(made))
    with initialising(0):
        theirs = o3.Linear(entering, o3.Irreps(made))
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    features = torch.randn(6, entering.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shapes = [(mul, ir.dim) for mul, ir in entering]
    for result in (from_blocks(ours(to_blocks(features, shapes))), ours.whole(features)):
        results = [result, theirs(features)]
        assert torch.allclose(*results, rtol=0, atol=1e-12)
        if ours.weight.numel():
            gradients = [
                torch.autograd.grad(result.square().sum(), linear.weight)[0]
                for result, linear in zip(results, (ours, theirs), strict=True)
            ]
            assert torch.allclose(*gradients, rtol=1e-12, atol=1e-12)
