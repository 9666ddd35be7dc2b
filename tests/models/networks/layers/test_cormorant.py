"""The layer after Cormorant: its formula, and what its products make."""

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.layers.cormorant import CormorantLayer
from tesseral.models.networks.layers.layer_fusion import PRODUCT_SHARE
from tesseral.models.networks.layers.nonlinearity import Saturation
from tests.support.small_networks import asked, graph


@pytest.mark.parametrize("saturation", [True, False])
def test_the_cormorant_layer_is_its_formula(saturation):
    """For scalars every product is a plain one: √(1−p) L(x ⊕ G) + √p M(U·U ⊕ U·G)."""
    settings = asked("2x0e", interaction="cormorant", harmonics_lmax=0, saturation=saturation).resolve()
    layer = CormorantLayer(o3.Irreps("3x0e"), o3.Irreps("2x0e"), settings, elements=2, num_neighbors=4.0)
    one, x = graph(settings), torch.randn(6, 3)
    gathered = 2 * layer.messages(x, one)
    saturate = Saturation(o3.Irreps("2x0e")) if saturation else torch.nn.Identity()
    own = saturate(x @ layer.own.weight.view(3, 2) / 3**0.5)
    linear = torch.cat([x, gathered], dim=1) @ layer.linear.weight.view(-1, 2) / 5**0.5
    squares = torch.stack([own * own, own * saturate(gathered)], dim=2).flatten(1)
    mixed = squares @ layer.mix.weight.view(4, 2) / 4**0.5
    expected = (1 - PRODUCT_SHARE) ** 0.5 * linear + PRODUCT_SHARE**0.5 * mixed
    torch.testing.assert_close(layer(x, one), expected, rtol=0, atol=1e-13)


def test_products_make_what_no_convolution_does():
    """1e is x·x of no single channel, but of vectors that differ: an atom's own and those that it gathers."""
    settings = asked("2x0e+2x1o+2x1e", interaction="cormorant", harmonics_lmax=1).resolve()
    layer = CormorantLayer(
        o3.Irreps("2x0e+2x1o"), o3.Irreps(settings.hidden.irreps), settings, elements=2, num_neighbors=4.0
    )
    assert layer.irreps_out == o3.Irreps("2x0e+2x1e+2x1o")
    made = layer(torch.randn(6, 8), graph(settings))
    assert (made[:, layer.irreps_out.slices()[1]].abs() > 1e-4).any(dim=1).all()
