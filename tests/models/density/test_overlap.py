"""Overlap integrals against PySCF's, and the error that they give against a grid."""

import numpy as np
import pytest
import torch

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.density.density import density_on_points
from tesseral.models.density.overlap import l2_error, overlap_matrix
from tesseral.models.density.quadrature import atom_grid
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, e3nn_rotation, packed_overlap
from tests.support.fitted_density import hydrogen_sulfide, water

NUMBERS = (8, 1, 1, 16)
POSITIONS = torch.tensor([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32], [1.2, -2.4, 0.9]]).double()


@pytest.mark.parametrize("decontracted", [True, False])
def test_overlaps_are_pyscfs(decontracted):
    shells = {z: auxiliary_shells(z, "def2-universal-jfit", decontracted) for z in set(NUMBERS)}
    auxiliary = auxiliary_molecule(shells, NUMBERS, POSITIONS.numpy())
    rotation = e3nn_rotation(auxiliary)
    expected = rotation @ auxiliary.intor("int1e_ovlp") @ rotation.T
    found = overlap_matrix(AuxiliaryBasis("jfit", shells), NUMBERS, POSITIONS).numpy()
    assert np.abs(found - expected).max() < 1e-12
    assert np.abs(found[np.tril_indices_from(found)] - packed_overlap(auxiliary)).max() < 1e-12


@pytest.mark.parametrize("fit", [water, hydrogen_sulfide])
def test_the_error_is_that_on_a_grid(fit):
    basis, numbers, positions, other, reference = fit()
    points, weights = atom_grid(positions, radii=80)
    here, there = (density_on_points(basis, numbers, positions, c, points) for c in (other, reference))
    expected = 100 * float(((here - there).square() @ weights / (there.square() @ weights)).sqrt())
    assert l2_error(basis, numbers, positions, other, reference) == pytest.approx(expected, rel=1e-5)
    assert l2_error(basis, numbers, positions, reference, reference) == 0


def test_a_gradient_passes_to_positions():
    basis = AuxiliaryBasis("spd", {1: tuple(Shell(order, (0.4 + order,), (1.0,)) for order in range(3))})
    positions = POSITIONS[1:3].clone().requires_grad_()
    weights = torch.randn(18, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda r: (weights * overlap_matrix(basis, (1, 1), r)).sum(), (positions,))
