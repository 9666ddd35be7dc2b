"""The electrostatic potential of a density and the nuclei, and a shell of points around a molecule to compare it on."""

from collections.abc import Sequence
from math import pi, sqrt

import torch
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.boys import boys
from tesseral.models.density.primitives import primitives
from tesseral.models.density.solid_harmonics import solid_harmonics
from tesseral.study.constants import BOHR

CHUNK = 1024
"""Points evaluated at once, so that memory stays flat."""
SHELL_SCALE = 1.4
"""Distance from the atoms to the shell in van der Waals radii: about where the other atom of a hydrogen bond is, and
the innermost shell of the Merz-Kollman charges (Singh & Kollman, J. Comput. Chem. 5, 129, 1984)."""
SHELL_DENSITY = 6.0
"""Points per Å² of an atom's sphere."""
# fmt: off
RADII = {
    1: 1.20, 2: 1.40, 3: 1.82, 4: 1.53, 5: 1.92, 6: 1.70, 7: 1.55, 8: 1.52, 9: 1.47, 10: 1.54, 11: 2.27, 12: 1.73,
    13: 1.84, 14: 2.10, 15: 1.80, 16: 1.80, 17: 1.75, 18: 1.88, 19: 2.75, 20: 2.31, 33: 1.85, 34: 1.90, 35: 1.85,
    36: 2.02, 52: 2.06, 53: 1.98, 54: 2.16,
}
# fmt: on
"""Van der Waals radii by atomic number, Å: Bondi (J. Phys. Chem. 68, 441, 1964), supplemented by Mantina et al. (J.
Phys. Chem. A 113, 5806, 2009)."""
OTHER_RADIUS = 2.0
"""Radius of all other elements, Å."""


def potential_on_points(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    points: Tensor,
    nuclei: bool = True,
) -> Tensor:
    r"""V(r) = Σ_A Z_A / |r − R_A| − ∫ρ(r') / |r − r'| dr', the energy of a unit charge at r, in closed form.

    With d = r − R_A in bohr, a primitive n exp(−a d²) Y_lm(d), Y homogeneous of degree l, has the potential

        ∫ n exp(−a d'²) Y_lm(d') / |r − r'| dr' = 2π/a · n Y_lm(d) F_l(a d²),

    F_l the Boys function (`tesseral.models.density.boys`). It follows from three identities: Y_lm(d) exp(−a d²) =
    (−2a)^(−l) Y_lm(∇) exp(−a d²), the potential of exp(−a d²) is 2π/a · F_0(a d²), and F_l' = −F_(l+1). Computed in
    double precision; a gradient passes to positions, coefficients and points.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param points: Å, shape (points, 3), none on a nucleus.
    :param nuclei: False leaves out the first sum, as for the difference of two densities.
    :returns: hartree/e, shape (points,).
    """
    elements = primitives(basis, atomic_numbers, positions, [coefficients])
    parts = []
    for chunk in (points.double() / BOHR).split(CHUNK):
        total = chunk.new_zeros(len(chunk))
        for atoms, centres, blocks in elements:
            for row, atom in enumerate(atoms):
                x, y, z = (chunk - centres[row]).T
                squared = x * x + y * y + z * z
                if nuclei:
                    total = total + atomic_numbers[atom] / squared.sqrt()
                harmonics = solid_harmonics(max(block.order for block in blocks), x, y, z)
                for block in blocks:
                    exponents = block.exponents[:, None]
                    radial = 2 * pi / exponents * boys(block.order, exponents * squared)
                    total = total - (block.amplitudes[row] @ radial * harmonics[block.order]).sum(dim=0)
        parts.append(total)
    return torch.cat(parts)


def shell_of_points(
    atomic_numbers: Sequence[int], positions: Tensor, scale: float = SHELL_SCALE, density: float = SHELL_DENSITY
) -> Tensor:
    """Points on spheres of `scale` van der Waals radii around the atoms, except those inside another atom's sphere.

    On each sphere they follow a Fibonacci spiral: heights that divide the area equally, a golden angle apart. The
    spiral does not turn with the molecule, so a mean over the points changes by about a percent as the molecule turns.

    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param scale: factor of the van der Waals radii `RADII`.
    :param density: points per Å² of a sphere.
    :returns: Å, shape (points, 3), without a gradient.
    """
    centres = positions.detach().double()
    radii = centres.new_tensor([scale * RADII.get(number, OTHER_RADIUS) for number in atomic_numbers])
    kept = []
    for atom, radius in enumerate(radii.tolist()):
        number = max(1, round(4 * pi * radius**2 * density))
        index = torch.arange(number, dtype=torch.float64, device=centres.device)
        height = 1 - (2 * index + 1) / number
        angle = pi * (3 - sqrt(5)) * index
        ring = (1 - height.square()).sqrt()
        points = centres[atom] + radius * torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=1)
        depths = (points[:, None] - centres).norm(dim=2) - radii
        depths[:, atom] = 0  # on its own sphere, but for rounding
        kept.append(points[(depths >= 0).all(dim=1)])
    return torch.cat(kept)
