"""The gate, saturation and the factors of activations, against their formulas."""

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.layers.nonlinearity import Gate, Saturation, moment_factor


def test_gate_is_its_formula():
    gate = Gate(o3.Irreps("2x0e+1x0o+2x1o+1x2e")).double()
    assert str(gate.irreps_in) == "5x0e+1x0o+2x1o+1x2e"
    x = torch.randn(4, gate.irreps_in.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gates = torch.sigmoid(x[:, 2:5]) * moment_factor(torch.sigmoid)
    expected = torch.cat(
        [
            torch.nn.functional.silu(x[:, :2]) * moment_factor(torch.nn.functional.silu),
            torch.tanh(x[:, 5:6]) * moment_factor(torch.tanh),
            gates[:, :1] * x[:, 6:9],
            gates[:, 1:2] * x[:, 9:12],
            gates[:, 2:] * x[:, 12:],
        ],
        dim=1,
    )
    assert torch.allclose(gate(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("function", "moment"), [(lambda z: z, 1.0), (torch.square, 3.0), (lambda z: z**3, 15.0)])
def test_moment_factor_in_closed_form(function, moment):
    assert moment_factor(function) == pytest.approx(moment**-0.5, rel=1e-12)


def test_saturation_is_its_formula():
    saturate, x = Saturation(o3.Irreps("10x0e+10x1o")), torch.randn(5, 40)
    x[0], x[1] = 0, x[1] * 1e6
    x[2, :10] *= x[2, :10].square().mean() ** -0.5
    expected = [part * (2 / (1 + part.square().mean(dim=1, keepdim=True))) ** 0.5 for part in x.split([10, 30], dim=1)]
    torch.testing.assert_close(saturate(x), torch.cat(expected, dim=1))
    torch.testing.assert_close(saturate(x)[2, :10], x[2, :10])
    assert saturate(x)[1, 10:].square().mean() == pytest.approx(2)
    small = Saturation(o3.Irreps("1x0e+1x1o"))
    assert torch.autograd.gradgradcheck(small, x[2:4, :4].clone().requires_grad_())
