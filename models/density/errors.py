"""Errors of a predicted density in what it is used for: charge, dipole, quadrupole and electrostatic potential."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.multipoles import moments
from tesseral.models.density.potential import potential_on_points, shell_of_points


class DensityErrors(NamedTuple):
    """Errors of one structure's density."""

    electrons: float
    """∫ρ less the expected number of electrons, e."""
    dipole: float
    """|μ − μ_ref|, e·bohr."""
    quadrupole: float
    """|Q − Q_ref|, the norm over the five components, e·bohr²."""
    potential: float
    """Root mean square of V − V_ref over a shell of points around the molecule, millihartree/e."""


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
    """Errors of ρ against reference coefficients, or of its moments against given ones, such as a calculation's.

    ε is computed apart, by `tesseral.models.density.density.epsilon_by_order`. Moments include the nuclei and are taken
    about the centre of nuclear charge, see `tesseral.models.density.multipoles.moments`.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param reference: of ρ_ref, in the same layout.
    :param expected: l → expected moment: 0 → charge, e; 1 → dipole; 2 → quadrupole. A missing one is that of the
        reference coefficients.
    :param points: where potentials are compared, Å, shape (points, 3); None: `shell_of_points`.
    """
    predicted = moments(basis, atomic_numbers, positions, coefficients)
    targets = {**moments(basis, atomic_numbers, positions, reference), **(expected or {})}
    differences = {order: predicted[order] - targets[order].to(predicted[order]) for order in (0, 1, 2)}
    points = shell_of_points(atomic_numbers, positions) if points is None else points
    change = [a - b for a, b in zip(coefficients, reference, strict=True)]
    # The potential is linear in the density, so that of the difference is V_ref − V; the nuclei cancel.
    potential = potential_on_points(basis, atomic_numbers, positions, change, points, nuclei=False)
    return DensityErrors(
        electrons=-float(differences[0]),  # the moment of l = 0 is the charge, which electrons lower
        dipole=float(differences[1].norm()),
        quadrupole=float(differences[2].norm()),
        potential=1000 * float(potential.square().mean().sqrt()),
    )
