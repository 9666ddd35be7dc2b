"""The product of features with harmonics, against e3nn's."""

from collections.abc import Iterator

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.layout import from_blocks, to_blocks


@pytest.fixture
def precise() -> Iterator[None]:
    """e3nn's products are built in the default precision."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


@pytest.mark.usefixtures("precise")
def test_the_channel_product_is_e3nns():
    """The same numbers as `o3.TensorProduct` with the same paths and weights, by an independent program."""
    irreps_in, kept = o3.Irreps("4x0e+3x0o+2x1e+3x1o+2x2e+1x3o"), o3.Irreps("0e+0o+1e+1o+2e+3o+3e")
    product = ChannelProduct(irreps_in, 3, kept)
    stock = product.stock()
    assert stock.weight_numel == product.weight_numel
    generator = torch.Generator().manual_seed(0)
    x, y, w = (torch.randn(9, n, generator=generator) for n in (irreps_in.dim, 16, product.weight_numel))
    edges = torch.arange(9)  # each atom sends to itself alone, so that sums have one term
    blocks = product(to_blocks(x, product.shapes), y, w, edges, edges, edges)
    assert torch.allclose(from_blocks(blocks), stock(x, y, w), rtol=0, atol=1e-12)
    assert repr(product).startswith("ChannelProduct(4x0e+3x0o+2x1e+3x1o+2x2e+1x3o x 1x0e+1x1o+1x2e+1x3o -> ")
