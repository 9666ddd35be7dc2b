"""The convolution against its formula."""

import torch
from e3nn import o3

from tesseral.models.networks.layers.convolution import Convolution
from tesseral.study import configuration
from tesseral.study.configuration.network import Hidden
from tests.support.small_networks import graph


def test_convolution_is_its_formula():
    """Σ_j w(r_ij)·(A x_j ⊗ Y(r_ij)) / (E √num_neighbors), scalars to vectors: a plain product."""
    torch.manual_seed(0)
    settings = configuration.Network(
        hidden=Hidden(irreps="1x1o"), harmonics_lmax=1, radial_functions=6, radial_layers=0
    )
    convolution = Convolution(o3.Irreps("1x0e"), o3.Irreps("1x1o"), settings, elements=2, num_neighbors=4.0).double()
    one = graph(settings)
    features = torch.randn(6, 1, dtype=torch.float64)
    weights = one.radial @ convolution.messages.radial.weights[0] / 6**0.5
    sent = convolution.messages.before.weight * features
    expected = torch.zeros(6, 3, dtype=torch.float64)
    for edge, (source, destination) in enumerate(zip(one.source, one.destination, strict=True)):
        expected[destination] += weights[edge] * sent[source] * one.harmonics[edge, 1:] / (2 * 4.0**0.5)
    # No self-connection makes a vector of a scalar, so the sum enters whole.
    assert torch.allclose(convolution(features, one), expected * convolution.messages.after.weight, rtol=0, atol=1e-12)
