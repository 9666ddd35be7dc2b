"""The product of features with harmonics, against e3nn's."""

from collections.abc import Iterator

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.products.channel_product import ChannelProduct


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
    place = {k: slot for slot, k in enumerate(product.order)}
    stock = o3.TensorProduct(
        irreps_in,
        product.irreps_edge,
        product.irreps_out,
        [(path.source, path.harmonic, place[k], "uvu", True) for k, path in enumerate(product.paths)],
        internal_weights=False,
        shared_weights=False,
    )
    assert stock.weight_numel == product.weight_numel
    generator = torch.Generator().manual_seed(0)
    x, y, w = (torch.randn(9, n, generator=generator) for n in (irreps_in.dim, 16, product.weight_numel))
    # e3nn's weights are ordered by path, then channel; ours, within an input irrep, by channel, then path.
    groups = w.split([len(g) * mul for g, (mul, _) in zip(product.groups, irreps_in, strict=True)], dim=1)
    theirs = [
        part.reshape(9, mul, -1).transpose(1, 2).flatten(1) for part, (mul, _) in zip(groups, irreps_in, strict=True)
    ]
    arranged = product.arrange(product(x, y, w))
    assert torch.allclose(arranged, stock(x, y, torch.cat(theirs, dim=1)), rtol=0, atol=1e-12)
    assert repr(product).startswith("ChannelProduct(4x0e+3x0o+2x1e+3x1o+2x2e+1x3o x 1x0e+1x1o+1x2e+1x3o -> ")
