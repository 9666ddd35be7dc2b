"""The radial network of the messages."""

import pytest
import torch

from tesseral.models.networks.layers.messages import RadialNetwork


def test_activations_keep_the_second_moment():
    """Over random weights and inputs of second moment 1, the radial network's outputs have it too."""
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = torch.stack([RadialNetwork([20, 100, 100, 1])(torch.randn(50, 20)) for _ in range(400)])
    assert float(outputs.square().mean()) == pytest.approx(1, abs=0.1)
