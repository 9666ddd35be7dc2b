"""Errors of a density in charge, moments and potential, against closed forms and PySCF."""

from math import pi

import pytest
import torch

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.density.errors import DensityErrors, density_errors
from tesseral.models.density.multipoles import moments
from tesseral.models.density.potential import potential_on_points, shell_of_points
from tesseral.study.constants import BOHR
from tests.support.fitted_density import hydrogen_sulfide, water


@pytest.mark.parametrize("fit", [water, hydrogen_sulfide])
def test_errors_are_those_of_the_moments_and_the_potential(fit):
    basis, numbers, positions, other, reference = fit()
    errors = density_errors(basis, numbers, positions, other, reference)
    here, there = (moments(basis, numbers, positions, c) for c in (other, reference))
    assert errors.electrons == pytest.approx(float(there[0] - here[0]))
    assert errors.dipole == pytest.approx(float((here[1] - there[1]).norm()))
    assert errors.quadrupole == pytest.approx(float((here[2] - there[2]).norm()))
    points = shell_of_points(numbers, positions)
    values = [potential_on_points(basis, numbers, positions, c, points) for c in (other, reference)]
    assert errors.potential == pytest.approx(1000 * float((values[0] - values[1]).square().mean().sqrt()))
    assert min(map(abs, errors)) > 0


def test_a_charge_and_a_dipole_too_many():
    """An s function adds its charge, a p function its dipole; their potentials far away are q/r and μ·r/r³."""
    basis = AuxiliaryBasis("sp", {1: (Shell(0, (0.5,), (1.0,)), Shell(1, (0.7,), (1.0,)))})
    positions = torch.tensor([[0.2, 0.1, -0.3]], dtype=torch.float64)
    reference = [torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)]
    charged = [torch.tensor([1.5, 0.0, 0.0, 0.0], dtype=torch.float64)]
    far = positions + torch.tensor([[0.0, 50.0, 0.0]], dtype=torch.float64)
    errors = density_errors(basis, (1,), positions, charged, reference, points=far)
    electrons = 0.5 * (2 * pi / 0.5) ** 0.75
    assert errors.electrons == pytest.approx(electrons)
    assert errors[1:3] == pytest.approx((0, 0), abs=1e-12)
    distance = 50 / BOHR
    assert errors.potential == pytest.approx(1000 * electrons / distance)
    polarised = [torch.tensor([1.0, 0.0, 0.3, 0.0], dtype=torch.float64)]
    errors = density_errors(basis, (1,), positions, polarised, reference, points=far)
    assert errors.electrons == pytest.approx(0, abs=1e-12)
    assert errors.potential == pytest.approx(1000 * errors.dipole / distance**2)
    assert errors.dipole > 0.1


def test_no_error():
    basis, numbers, positions, _, reference = water()
    assert density_errors(basis, numbers, positions, reference, reference) == DensityErrors(0, 0, 0, 0)


def test_moments_of_a_calculation_are_compared_with():
    basis, numbers, positions, _, reference = water()
    own = moments(basis, numbers, positions, reference)
    expected = {0: torch.tensor([-0.25]), 1: own[1] + torch.tensor([0.0, 0.3, 0.4]), 2: own[2]}
    errors = density_errors(basis, numbers, positions, reference, reference, expected)
    assert errors.electrons == pytest.approx(-0.25, abs=1e-6)  # an anion lacks an electron in a neutral density
    assert errors.dipole == pytest.approx(0.5)
    assert errors.quadrupole == 0
