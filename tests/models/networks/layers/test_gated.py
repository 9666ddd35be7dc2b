"""The gated layer: a diagram in it makes gates and reaches further."""

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.layers.gated import GatedLayer
from tesseral.models.networks.layers.layer_fusion import PRODUCT_SHARE
from tesseral.study.configuration.network import Fusion
from tests.support.small_networks import asked, graph


@pytest.mark.parametrize(
    ("diagram", "k_max", "expected"),
    [
        ("(neighbours neighbours)", None, "2x0e+2x1o+1x2e"),
        ("(centre centre)", None, "2x0e+2x1o"),
        ("((edges edges) edges)", 2, "2x0e+2x1o+1x2e+1x3o"),
        ("((edges edges) edges)", 0, "2x0e+2x1o"),
    ],
)
def test_a_diagram_in_the_gated_layer_reaches_further(diagram, k_max, expected):
    """With harmonics of l ≤ 1, whatever it makes enters the gate; what nothing makes is left out."""
    settings = asked(
        "2x0e+2x1o+1x2e+1x3o", harmonics_lmax=1, fusion=Fusion(diagram=diagram, k_max=k_max, channels=3)
    ).resolve()
    layer = GatedLayer(o3.Irreps("3x0e"), o3.Irreps(settings.hidden.irreps), settings, elements=2, num_neighbors=4.0)
    assert layer.irreps_out == o3.Irreps(expected)
    assert layer.fusion.irreps_out == layer.gate.irreps_in
    one, x = graph(settings), torch.randn(6, 3)
    made = layer(x, one)
    assert all((made[:, part].abs() > 1e-6).any() for part in layer.irreps_out.slices())
    convolved = layer.convolution(x, one)
    reached = [
        part for (_, ir), part in zip(layer.gate.irreps_in, layer.gate.irreps_in.slices(), strict=True) if ir.l < 2
    ]
    messages = 2 * layer.convolution.messages(x, one)
    leaf = torch.cat([messages[:, part] for part in reached], dim=1)
    leaves = {"centre": x, "neighbours": leaf}
    if layer.fusion.edges is not None:
        leaves["edges"] = layer.fusion.edges(one)
    added = layer.fusion.block({name: bound(leaves[name]) for name, bound in layer.fusion.saturations.items()})
    total = convolved + added
    both = (convolved.abs().amax(dim=0) > 0) & (added.abs().amax(dim=0) > 0)
    total[:, both] = (1 - PRODUCT_SHARE) ** 0.5 * convolved[:, both] + PRODUCT_SHARE**0.5 * added[:, both]
    torch.testing.assert_close(made, layer.gate(total), rtol=0, atol=1e-13)
