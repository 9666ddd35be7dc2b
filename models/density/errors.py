"""What is wrong with a predicted density in the quantities that it is used for: charge, moments, potential."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.multipoles import moments
from tesseral.models.density.potential import potential_on_points, shell_of_points


class DensityErrors(NamedTuple):
    """Of one structure."""

    electrons: float
    """∫ρ − the electrons there should be, e."""
    dipole: float
    """|μ − μ_ref|, e·bohr."""
    quadrupole: float
    """|Q − Q_ref|, the norm over its five components, e·bohr²."""
    potential: float
    """√(mean (V − V_ref)²) over the shell of points, millihartree/e."""


@torch.no_grad()
def density_errors(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    reference: Sequence[Tensor],
    expected: Mapping[int, Tensor] | None = None,
    points: Tensor | None = None,
) -> DensityErrors:
    """Errors of ρ against the reference coefficients, or its moments against given ones, such as a calculation's.

    All but ε: see `tesseral.models.density.density.epsilon_by_order`. In the moments the nuclei are included and the
    centre is that of nuclear charge, see `tesseral.models.density.multipoles.moments`.

    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param reference: of ρ_ref, in the same layout.
    :param expected: the molecule's charge, e, under 0, dipole under 1 and quadrupole under 2, any of them; what is not
        there is the reference coefficients' own.
    :param points: where potentials are compared, Å, shape (points, 3); None: `shell_of_points`.
    """
    found = moments(basis, atomic_numbers, positions, coefficients)
    right = {**moments(basis, atomic_numbers, positions, reference), **(expected or {})}
    differences = {order: found[order] - right[order].to(found[order]) for order in (0, 1, 2)}
    points = shell_of_points(atomic_numbers, positions) if points is None else points
    change = [a - b for a, b in zip(coefficients, reference, strict=True)]
    potential = potential_on_points(basis, atomic_numbers, positions, change, points, nuclei=False)
    return DensityErrors(
        electrons=-float(differences[0]),
        dipole=float(differences[1].norm()),
        quadrupole=float(differences[2].norm()),
        potential=1000 * float(potential.square().mean().sqrt()),
    )
