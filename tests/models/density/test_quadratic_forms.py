"""Quadratic forms of structures of unequal sizes, against padded matrices and finite differences."""

import pytest
import torch
from torch.nn.functional import pad

from tesseral.models.density.quadratic_forms import quadratic_forms

SIZES = [3, 7, 0, 1, 7]


def matrices(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    halves = [torch.randn(size, size, dtype=dtype, generator=generator) for size in SIZES]
    return [half + half.T for half in halves]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)], ids=str)
def test_forms_and_gradients_are_those_of_padded_matrices(dtype, tolerance):
    given = matrices(dtype)
    vectors = torch.randn(sum(SIZES), dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_()
    forms = quadratic_forms(vectors, given)
    padded = torch.stack([pad(matrix, (0, 7 - len(matrix), 0, 7 - len(matrix))) for matrix in given])
    others = torch.stack([pad(vector, (0, 7 - len(vector))) for vector in vectors.split(SIZES)])
    expected = (others * torch.bmm(padded, others[..., None])[..., 0]).sum(dim=1)
    torch.testing.assert_close(forms, expected, rtol=tolerance, atol=tolerance)
    weights = torch.tensor([1.0, -2.0, 4.0, 0.5, 3.0], dtype=dtype)
    (gradient,), (wanted,) = (torch.autograd.grad((of * weights).sum(), vectors) for of in (forms, expected))
    torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_finite_differences():
    given = matrices(torch.float64)
    vectors = torch.randn(
        sum(SIZES), dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda of: quadratic_forms(of, given), vectors)


def test_one_structure_and_no_gradient():
    vector = torch.tensor([1.0, 2.0])
    with torch.no_grad():
        assert quadratic_forms(vector, [torch.tensor([[2.0, 1.0], [1.0, 3.0]])]).tolist() == [18.0]
