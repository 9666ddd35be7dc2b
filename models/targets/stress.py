"""The stress of a periodic structure: the derivative of its energy by a strain, over its volume."""

from functools import cache

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.study.constants import BOHR


def stress_of(gradient: Tensor, graph: Graph) -> Tensor:
    """σ = ∂E/∂ε / V, positive under tension: where the energy falls as the cell shrinks. ASE has the same sign.

    :param gradient: (structures, 3, 3), ∂E/∂ε by the strain of `at_positions`, hartree.
    :param graph: whose cells give the volumes.
    :returns: (structures, 6), 0e+2e in e3nn's order, hartree/bohr³, in the precision of the gradient; NaN for a
        structure that does not repeat along three axes.
    """
    volume = torch.linalg.det(graph.cell.to(gradient)).abs()[:, None] / BOHR**3
    stress = torch.einsum("sab,kab->sk", gradient, symmetric_basis(gradient)) / volume.where(volume > 0, torch.inf)
    return stress.where(volume > 0, torch.nan)


def cartesian(stress: Tensor) -> Tensor:
    """A symmetric tensor from its irreps.

    :param stress: (structures, 6), 0e+2e in e3nn's order.
    :returns: (structures, 3, 3).
    """
    return torch.einsum("sk,kab->sab", stress, symmetric_basis(stress))


def symmetric_basis(like: Tensor) -> Tensor:
    """The orthonormal tensors of 0e and 2e, (6, 3, 3): δ_ab/√3, and those with r·E_m·r ∝ Y_2m(r) by a positive factor.

    :param like: a tensor of the precision and device wanted.
    """
    return _basis().to(like)


@cache
def _basis() -> Tensor:
    parts = [o3.wigner_3j(1, 1, order, dtype=torch.float64).permute(2, 0, 1) for order in (0, 2)]
    return torch.cat([(2 * order + 1) ** 0.5 * part for order, part in zip((0, 2), parts, strict=True)])
