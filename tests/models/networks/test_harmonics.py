"""Spherical harmonics against e3nn's: values, gradients, second derivatives, every l that a study may ask for."""

import subprocess
import sys

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.harmonics import spherical_harmonics


def vectors(dtype: torch.dtype, number: int = 200) -> torch.Tensor:
    draw = torch.randn(number, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    along_axes = torch.cat([torch.eye(3), -torch.eye(3)]).double() * 0.7
    return torch.cat([draw, along_axes]).to(dtype)


def theirs(given: torch.Tensor, lmax: int) -> torch.Tensor:
    return o3.spherical_harmonics(list(range(lmax + 1)), given, normalize=True, normalization="component")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-14), (torch.float32, 5e-6)], ids=str)
@pytest.mark.parametrize("lmax", range(11))
def test_they_are_e3nns(lmax, dtype, tolerance):
    given = vectors(dtype)
    torch.testing.assert_close(spherical_harmonics(given, lmax), theirs(given, lmax), rtol=0, atol=tolerance)
    norms = spherical_harmonics(given, lmax).square().split([2 * order + 1 for order in range(lmax + 1)], dim=1)
    for order, part in enumerate(norms):
        torch.testing.assert_close(part.sum(dim=1), torch.full_like(given[:, 0], 2 * order + 1), rtol=1e-5, atol=0)


def test_both_derivatives_are_e3nns():
    weights = torch.randn(25, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = []
    for harmonics in (spherical_harmonics, theirs):
        given = vectors(torch.float64).requires_grad_()
        (first,) = torch.autograd.grad((harmonics(given, 4) * weights).sum(), given, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), given)
        found.append((first.detach(), second))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


def test_no_vectors_and_vectors_of_length_zero():
    assert spherical_harmonics(torch.zeros(0, 3), 2).shape == (0, 9)
    zero = torch.zeros(1, 3)
    assert torch.equal(spherical_harmonics(zero, 2), theirs(zero, 2))


FIRST = """
import torch
from tesseral.models.networks.harmonics import spherical_harmonics

class Harmonics(torch.nn.Module):
    def forward(self, vectors):
        return spherical_harmonics(vectors, 3)

vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
{first}
leaf = vectors.clone().requires_grad_()
values = spherical_harmonics(leaf, 3)
values.square().sum().backward()
assert type(values) is torch.Tensor and leaf.grad is not None
{last}
"""
EXPORT = """
program = torch.export.export(Harmonics(), (vectors,), strict=False)
torch.testing.assert_close(program.module()(vectors), Harmonics()(vectors))
"""
COMPILE = """
compiled = torch.compile(Harmonics(), backend="eager", fullgraph=True)
torch.testing.assert_close(compiled(vectors), Harmonics()(vectors))
"""
INFERENCE = "with torch.inference_mode(): spherical_harmonics(vectors, 3)"


@pytest.mark.parametrize("first", [EXPORT, COMPILE, INFERENCE], ids=["exported", "compiled", "inferred"])
def test_what_traced_them_first_leaves_nothing_behind(first):
    again = first if first is not INFERENCE else ""
    done = subprocess.run(
        [sys.executable, "-c", FIRST.format(first=first, last=again)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
