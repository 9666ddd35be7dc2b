"""The electrostatic potential of auxiliary coefficients and the nuclei, and a shell of points to see it on."""

from collections.abc import Sequence
from math import gamma, pi, sqrt

import torch
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.primitives import primitives
from tesseral.models.density.solid_harmonics import solid_harmonics
from tesseral.study.constants import BOHR

CHUNK = 1024
"""Points at a time."""
SHELL_SCALE = 1.4
"""Van der Waals radii from the atoms to the shell: about where a hydrogen bond's other atom stands, and the innermost
shell of Merz and Kollman's fits of charges to the potential."""
SHELL_DENSITY = 6.0
"""Points for each Å² of an atom's sphere."""
# fmt: off
RADII = {
    1: 1.20, 2: 1.40, 3: 1.82, 4: 1.53, 5: 1.92, 6: 1.70, 7: 1.55, 8: 1.52, 9: 1.47, 10: 1.54, 11: 2.27, 12: 1.73,
    13: 1.84, 14: 2.10, 15: 1.80, 16: 1.80, 17: 1.75, 18: 1.88, 19: 2.75, 20: 2.31, 33: 1.85, 34: 1.90, 35: 1.85,
    36: 2.02, 52: 2.06, 53: 1.98, 54: 2.16,
}
# fmt: on
"""Van der Waals radii by atomic number, Å: Bondi (J. Phys. Chem. 68, 441, 1964), and where he has none Mantina et al.
(J. Phys. Chem. A 113, 5806, 2009)."""
OTHER_RADIUS = 2.0
"""Of the elements that `RADII` does not have, Å."""
_SMALLEST = 1e-12  # of a d²: below it F_l is its value at 0 to double precision


def potential_on_points(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    points: Tensor,
    nuclei: bool = True,
) -> Tensor:
    r"""V(r) = Σ_A Z_A / |r − R_A| − ∫ρ(r') / |r − r'| dr', the energy of a unit charge at r.

    In closed form: with d = r − R_A in bohr, a primitive n exp(−a d²) Y_lm(d), Y homogeneous of degree l, has

        ∫ n exp(−a d'²) Y_lm(d') / |r − r'| dr' = 2π/a · n Y_lm(d) F_l(a d²),
        F_l(x) = ∫_0^1 t^(2l) exp(−x t²) dt = ½ Γ(l+½) P(l+½, x) x^(−l−½),

    F the Boys function, P the regularised lower incomplete gamma function. For Y_lm(d) exp(−a d²) is
    (−2a)^(−l) Y_lm(∇) exp(−a d²), the potential of exp(−a d²) is 2π/a · F_0(a d²), and F_l' = −F_(l+1). Computed in
    double precision; a gradient passes to positions, coefficients and points.

    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param points: Å, shape (points, 3), none on a nucleus.
    :param nuclei: False leaves the first sum out, as for a difference of two densities.
    :return: hartree/e, shape (points,).
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


def boys(order: int, x: Tensor) -> Tensor:
    """F_l(x) = ∫_0^1 t^(2l) exp(−x t²) dt for x ≥ 0, in the precision of x."""
    half = order + 0.5
    x = x.clamp(min=_SMALLEST)
    return 0.5 * gamma(half) * torch.special.gammainc(torch.full_like(x, half), x) * x ** (-half)


def shell_of_points(
    atomic_numbers: Sequence[int], positions: Tensor, scale: float = SHELL_SCALE, density: float = SHELL_DENSITY
) -> Tensor:
    """Points on spheres of `scale` van der Waals radii about the atoms, without those inside another atom's sphere.

    On each sphere they lie on a Fibonacci spiral: at heights that share the area equally, a golden angle apart. So they
    do not turn with the molecule; a mean over them changes by a percent or so as it turns.

    :param positions: Å, shape (atoms, 3).
    :param scale: of `RADII`.
    :param density: points for each Å² of a sphere.
    :return: Å, shape (points, 3), without a gradient.
    """
    centres = positions.detach().double()
    radii = centres.new_tensor([scale * RADII.get(number, OTHER_RADIUS) for number in atomic_numbers])
    found = []
    for atom, radius in enumerate(radii.tolist()):
        number = max(1, round(4 * pi * radius**2 * density))
        index = torch.arange(number, dtype=torch.float64, device=centres.device)
        height = 1 - (2 * index + 1) / number
        angle = pi * (3 - sqrt(5)) * index
        ring = (1 - height.square()).sqrt()
        points = centres[atom] + radius * torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=1)
        depths = (points[:, None] - centres).norm(dim=2) - radii
        depths[:, atom] = 0
        found.append(points[(depths >= 0).all(dim=1)])
    return torch.cat(found)
