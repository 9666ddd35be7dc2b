"""The stress: an orthonormal change to irreps, and the derivative by a strain over the volume."""

import numpy as np
import torch

from tesseral.models.networks.graph import EdgeBasis, build_graph, join
from tesseral.models.reference.conventions import basis_tensors
from tesseral.models.targets.stress import cartesian, stress_of, symmetric_basis
from tesseral.study.constants import BOHR
from tests.support.periodic_structures import CELL, PLACES


def test_the_irreps_are_those_of_imported_tensors():
    expected = np.concatenate([basis_tensors(2)[0, 1], basis_tensors(2)[2, 1]])
    np.testing.assert_allclose(symmetric_basis(torch.zeros(1, dtype=torch.float64)), expected, rtol=0, atol=1e-15)


def test_the_gradient_is_divided_by_the_volume():
    """A molecule and a slab have none."""
    basis, species = EdgeBasis(3.0, 1, 4), torch.zeros(3, dtype=torch.int64)
    cells = [CELL, CELL * np.array([[1.0], [1.0], [0.0]]), None]
    graphs = [build_graph(species, torch.tensor(PLACES), 1, basis, cell=cell) for cell in cells]
    gradient = torch.arange(27, dtype=torch.float64).reshape(3, 3, 3)
    stress = stress_of(gradient, join(graphs))
    symmetric = (gradient[0] + gradient[0].T) / 2
    torch.testing.assert_close(cartesian(stress[:1])[0], symmetric * BOHR**3 / abs(np.linalg.det(CELL)))
    assert stress[1:].isnan().all()
