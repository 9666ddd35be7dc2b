"""Densities as matrices of primitive Gaussians, by element and l, for fast evaluation on many points."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from math import log, pi, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell, radial_norm
from tesseral.models.density.solid_harmonics import harmonic_norms
from tesseral.study.constants import BOHR

NEGLIGIBLE = 1e-13
"""A primitive is skipped beyond the distance where it falls below this, electron · bohr⁻³."""


class Block(NamedTuple):
    """Functions of one l on the atoms of one element; primitives from the most to the least extended."""

    order: int
    exponents: Tensor
    """a of every primitive, bohr⁻², shape (primitives,)."""
    extents: list[float]
    """Distance from the atom up to which each primitive matters, bohr; see `extent`."""
    amplitudes: Tensor
    """Factors with which ρ_l = Σ_mk amplitude · T_lm(d) exp(−a_k d²), T of `solid_harmonics`; shape (atoms,
    densities · (2l+1), primitives)."""


class Element(NamedTuple):
    """The atoms of one element."""

    atoms: list[int]
    """Their indices in the structure."""
    centres: Tensor
    """bohr, shape (atoms, 3)."""
    blocks: list[Block]
    """One block for each l, ascending."""


def primitives(
    basis: AuxiliaryBasis, atomic_numbers: Sequence[int], positions: Tensor, densities: Sequence[Sequence[Tensor]]
) -> list[Element]:
    """Elements of a structure by ascending atomic number, in double precision.

    A gradient passes to positions and coefficients.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param densities: coefficients of each density: for each atom, shape (basis.size(Z),), electron · bohr^(−3/2).
    """
    centres, elements = positions.double() / BOHR, []
    for number in sorted(set(atomic_numbers)):
        atoms = [atom for atom, other in enumerate(atomic_numbers) if other == number]
        values = torch.stack([torch.stack([density[atom] for density in densities]) for atom in atoms])
        values = values.to(centres)
        # At least 1: coefficients that are zero would otherwise be skipped, and get no gradient.
        largest = max(1.0, float(values.detach().abs().max()))
        blocks, start = [], 0
        # Shells are sorted by l, so each l is one run of columns.
        for order, group in groupby(basis.shells[number], key=lambda shell: shell.l):
            shells = tuple(group)
            exponents, matrix = radial_matrix(shells)
            factors = largest * sqrt((2 * order + 1) / (4 * pi)) * matrix.abs().sum(dim=0)
            extents = [extent(order, a, factor) for a, factor in zip(exponents, factors.tolist(), strict=True)]
            ranked = sorted(range(len(extents)), key=lambda index: -extents[index])
            stop = start + len(shells) * (2 * order + 1)
            coefficients = values[..., start:stop].unflatten(-1, (len(shells), 2 * order + 1)).transpose(-1, -2)
            amplitudes = coefficients @ matrix[:, ranked].to(centres.device)
            amplitudes = amplitudes * centres.new_tensor(harmonic_norms(order))[:, None]
            blocks.append(
                Block(
                    order,
                    centres.new_tensor([exponents[index] for index in ranked]),
                    [extents[index] for index in ranked],
                    amplitudes.flatten(1, 2),
                )
            )
            start = stop
        elements.append(Element(atoms, centres[atoms], blocks))
    return elements


@cache
def radial_matrix(shells: tuple[Shell, ...]) -> tuple[list[float], Tensor]:
    """Exponents of all primitives in shells of one l, and the factors d_k n_k of each shell, see `radial_norm`.

    :param shells: of one l.
    :returns: the factors have shape (shells, primitives), 0 outside a shell's own primitives.
    """
    rows = []
    for shell in shells:
        pairs = zip(shell.coefficients, shell.exponents, strict=True)
        rows.append(torch.tensor([d * radial_norm(shell.l, a) for d, a in pairs], dtype=torch.float64))
    return [a for shell in shells for a in shell.exponents], torch.block_diag(*rows)


def extent(order: int, exponent: float, amplitude: float) -> float:
    """Distance beyond which amplitude · d^l exp(−a d²) < `NEGLIGIBLE`, bohr; 0 if it is so everywhere.

    The fixed-point iteration d² ← (ln(amplitude/negligible) + l/2 · ln d²) / a starts above the largest root and falls
    to it, so that stopping early errs on the safe side.

    :param order: l.
    :param exponent: a, bohr⁻².
    :param amplitude: above 0, electron · bohr^(−3−l).
    """
    excess = log(amplitude / NEGLIGIBLE)
    # d^l exp(−a d²/2) is largest at d² = l/a, so d² is less than where exp(−a d²/2) times that has fallen enough.
    peak = order / 2 * (log(order / exponent) - 1) if order else 0.0
    squared = 2 * (excess + peak) / exponent
    for _ in range(20):
        if squared <= 0:
            return 0.0
        squared = (excess + order / 2 * log(squared)) / exponent
    return sqrt(max(squared, 0.0))
