"""Overlap integrals of auxiliary functions from the geometry, and the L2 error of a density that follows from them."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.density.primitives import radial_matrix
from tesseral.models.density.solid_harmonics import harmonic_norms, solid_harmonics
from tesseral.study.constants import BOHR


def l2_error(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    reference: Sequence[Tensor],
) -> float:
    """100 · √(∫(ρ − ρ_ref)² / ∫ρ_ref²), percent, by closed-form integrals.

    This is the metric `l2_error` for data without stored overlaps.

    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param reference: of ρ_ref, in the same layout.
    """
    with torch.no_grad():
        overlap = overlap_matrix(basis, atomic_numbers, positions)
        right = torch.cat(list(reference)).to(overlap)
        error = torch.cat(list(coefficients)).to(overlap) - right
        # Rounding can leave a vanishing integral just below zero.
        return 100 * float(((error @ overlap @ error).clamp(min=0) / (right @ overlap @ right)).sqrt())


def overlap_matrix(basis: AuxiliaryBasis, atomic_numbers: Sequence[int], positions: Tensor) -> Tensor:
    r"""S_PQ = ∫χ_P(r) χ_Q(r) dr, exact up to rounding.

    By the Gaussian product rule, with p = a + b and P = (aA + bB) / p,

        exp(−a|r−A|²) exp(−b|r−B|²) = exp(−ab/p |A−B|²) exp(−p|r−P|²).

    The polynomial before it has degree l_a + l_b in each coordinate. A product of three Gauss-Hermite rules of
    ⌊(l_a + l_b)/2⌋ + 1 nodes integrates it exactly:

        ∫ f(r) exp(−p|r−P|²) dr = p^(−3/2) Σ_g w_g f(P + x_g/√p).

    Computed in double precision; a gradient passes to positions.

    :param positions: Å, shape (atoms, 3).
    :return: shape (functions, functions), in the order of the coefficients: atoms, their shells, e3nn's m.
    """
    centres = positions.double() / BOHR
    sizes = [basis.size(number) for number in atomic_numbers]
    first = np.cumsum([0, *sizes])
    result = centres.new_zeros(first[-1], first[-1])
    elements = sorted(set(atomic_numbers))
    for bra in elements:
        for ket in elements:
            pairs = [
                (i, j)
                for i, number in enumerate(atomic_numbers)
                for j, second in enumerate(atomic_numbers)
                if (number, second) == (bra, ket)
            ]
            left, right = (torch.tensor(column, device=centres.device) for column in zip(*pairs, strict=True))
            block = _pair_overlaps(basis.shells[bra], basis.shells[ket], centres[right] - centres[left])
            rows = torch.tensor([range(first[i], first[i + 1]) for i, _ in pairs], device=centres.device)
            columns = torch.tensor([range(first[j], first[j + 1]) for _, j in pairs], device=centres.device)
            result = result.index_put((rows[:, :, None], columns[:, None, :]), block)
    return result


def _pair_overlaps(bra: Sequence[Shell], ket: Sequence[Shell], apart: Tensor) -> Tensor:
    """Overlaps of the functions of two atoms, for all pairs of atoms of two elements at once.

    :param apart: second atom less first, bohr, shape (pairs, 3).
    :return: shape (pairs, functions of the first, functions of the second).
    """
    return torch.cat(
        [torch.cat([_block(left, right, apart) for right in _by_order(ket)], dim=2) for left in _by_order(bra)],
        dim=1,
    )


def _by_order(shells: Sequence[Shell]) -> list[tuple[Shell, ...]]:
    """Shells of each l; they are sorted by l."""
    return [tuple(group) for _, group in groupby(shells, key=lambda shell: shell.l)]


def _block(bra: tuple[Shell, ...], ket: tuple[Shell, ...], apart: Tensor) -> Tensor:
    """`_pair_overlaps` for shells of one l on either atom.

    Axes of the integrals: q pairs of atoms, a and b primitives of the first and second, m and n their components,
    g nodes; s and t the contracted shells.
    """
    order, degree = bra[0].l, ket[0].l
    (first, left), (second, right) = (radial_matrix(shells) for shells in (bra, ket))
    a, b = apart.new_tensor(first)[:, None, None], apart.new_tensor(second)[:, None]  # the last axis broadcasts to g
    total = a + b
    nodes, weights = (part.to(apart.device) for part in _hermite((order + degree) // 2 + 1))
    spread = nodes / total[..., None].sqrt()
    towards = apart[:, None, None, None]
    # Node P + x_g/√p as seen from either centre: P − A = b/p (B − A) and P − B = −a/p (B − A).
    from_bra = solid_harmonics(order, *(spread + (b / total)[..., None] * towards).unbind(-1))[order]
    from_ket = solid_harmonics(degree, *(spread - (a / total)[..., None] * towards).unbind(-1))[degree]
    scale = (-(a * b / total)[..., 0] * apart.square().sum(dim=1)[:, None, None]).exp() * total[..., 0] ** -1.5
    integrals = torch.einsum("g,qabmg,qabng,qab->qabmn", weights, from_bra, from_ket, scale)
    contracted = torch.einsum("sa,tb,qabmn->qsmtn", left.to(apart), right.to(apart), integrals)
    norms = apart.new_tensor(harmonic_norms(order))[:, None, None] * apart.new_tensor(harmonic_norms(degree))
    return (contracted * norms).flatten(3, 4).flatten(1, 2)


@cache
def _hermite(number: int) -> tuple[Tensor, Tensor]:
    """Gauss-Hermite rule of ∫f(x) exp(−|x|²) dx over space: nodes, shape (number³, 3), and weights."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite.hermgauss(number))
    both = [torch.cartesian_prod(part, part, part).reshape(-1, 3) for part in (nodes, weights)]
    return both[0], both[1].prod(dim=1)
