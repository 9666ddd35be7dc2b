"""Solid harmonics against e3nn's."""

import torch
from e3nn import o3

from tesseral.models.density.solid_harmonics import harmonic_norms, solid_harmonics


def test_they_are_e3nns():
    d = torch.randn(2, 40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for order, rows in enumerate(solid_harmonics(7, *d.unbind(-1))):
        norms = torch.tensor(harmonic_norms(order), dtype=torch.float64)
        expected = o3.spherical_harmonics(order, d, normalize=False, normalization="integral")
        assert rows.shape == (2, 2 * order + 1, 40)
        torch.testing.assert_close((rows * norms[:, None]).transpose(1, 2), expected, rtol=1e-12, atol=1e-12)


def test_one_order_alone():
    x = torch.tensor([0.3], dtype=torch.float64)
    assert [rows.shape for rows in solid_harmonics(0, x, x, x)] == [(1, 1)]
    assert [rows.shape for rows in solid_harmonics(1, x, x, x)] == [(1, 1), (3, 1)]


def test_gradients():
    d = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: torch.cat(solid_harmonics(4, *d)), (d,))
