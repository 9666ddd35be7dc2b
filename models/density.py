"""The density of auxiliary coefficients on points, and ε, the published measure of how two densities differ."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import gamma, sqrt
from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.quadrature import BOHR, Grid, atom_grid

CHUNK = 16384
"""Points at a time: memory stays below some 20 MB however many points there are."""


def density_on_points(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    points: Tensor,
    order: int | None = None,
) -> Tensor:
    r"""ρ(r) = Σ_atoms Σ_shells Σ_m c_m R(|d|) Y_lm(d), with d = r − R_atom in bohr and Y homogeneous of degree l,

        R(d) = Σ_k d_k n_k exp(−a_k d²),    n_k² = 2 (2a_k)^(l+3/2) / Γ(l+3/2),

    so that ∫χ² = 1. Computed in double precision; a gradient passes to positions and coefficients.

    :param positions: Å, shape (atoms, 3).
    :param coefficients: for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param points: Å, shape (points, 3).
    :param order: the part of the shells of this l alone; None: all.
    :return: electron · bohr⁻³, shape (points,).
    """
    orders = [term.l for term in basis.layout]
    atoms = _atoms(basis, atomic_numbers, positions, [values[None] for values in coefficients])
    by_order = torch.cat([_by_order(orders, atoms, chunk)[0] for chunk in points.double().split(CHUNK)], dim=1)
    return by_order.sum(dim=0) if order is None else by_order[orders.index(order)]


def epsilon_by_order(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    reference: Sequence[Tensor],
    grid: Grid | None = None,
) -> Mapping[int | None, float]:
    """ε = 100 · ∫|ρ − ρ_ref| / ∫ρ_ref, percent, under the key None; under each l of the basis ε_l = 100 · ∫|ρ_l −
    ρ_ref,l| / ∫ρ_ref, whose denominator is the whole density.

    ε is Rackers & Rao's (arXiv 2210.04766), who sum over a uniform grid of 0.1 Å that ends 3 Å from the atoms. Such
    a grid does not resolve a core: ε on it changes by up to 6 % of itself as a water molecule moves.

    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param reference: of ρ_ref, in the same layout.
    :param grid: of the integrals; None: `atom_grid(positions)`, on which ε changes by less than 0.2 % of itself, and
        ε_l by less than 1 %, as a molecule moves or turns.
    """
    orders = [term.l for term in basis.layout]
    grid = grid or atom_grid(positions)
    with torch.no_grad():
        both = [torch.stack([a - b, b]) for a, b in zip(coefficients, reference, strict=True)]
        atoms = _atoms(basis, atomic_numbers, positions, both)
        errors = torch.zeros(len(orders) + 1, dtype=torch.float64, device=positions.device)
        electrons = 0.0
        for points, weights in zip(grid.points.split(CHUNK), grid.weights.split(CHUNK), strict=True):
            error, expected = _by_order(orders, atoms, points)
            errors += torch.cat([error, error.sum(dim=0, keepdim=True)]).abs() @ weights
            electrons += float(expected.sum(dim=0) @ weights)
    return dict(zip([*orders, None], (100 * errors / electrons).tolist(), strict=True))


class _Block(NamedTuple):
    """All functions of one l on one atom."""

    order: int
    exponents: Tensor
    """Of every primitive, bohr⁻², shape (primitives,)."""
    amplitudes: Tensor
    """Σ_shells c_m d_k n_k of every density, shape (densities, 2l+1, primitives)."""


def _atoms(
    basis: AuxiliaryBasis, atomic_numbers: Sequence[int], positions: Tensor, fields: Sequence[Tensor]
) -> list[tuple[Tensor, list[_Block]]]:
    """Centre, Å, and blocks by ascending l of each atom.

    :param fields: for each atom, the coefficients of every density, shape (densities, basis.size(Z)).
    """
    found = []
    for number, centre, values in zip(atomic_numbers, positions.double(), fields, strict=True):
        blocks, start = [], 0
        # Shells are sorted by l, so each l is one run of columns.
        for order, group in groupby(basis.shells[number], key=lambda shell: shell.l):
            shells, half = list(group), order + 1.5
            norms = [
                centre.new_tensor([d * sqrt(2 * (2 * a) ** half / gamma(half)) for d, a in primitives])
                for primitives in (zip(shell.coefficients, shell.exponents, strict=True) for shell in shells)
            ]
            stop = start + len(shells) * (2 * order + 1)
            coefficients = values[:, start:stop].double().unflatten(1, (len(shells), 2 * order + 1))
            exponents = centre.new_tensor([a for shell in shells for a in shell.exponents])
            blocks.append(_Block(order, exponents, coefficients.transpose(1, 2) @ torch.block_diag(*norms)))
            start = stop
        found.append((centre, blocks))
    return found


def _by_order(orders: Sequence[int], atoms: Sequence[tuple[Tensor, list[_Block]]], points: Tensor) -> Tensor:
    """The part of each l of one or more densities, shape (densities, orders, points)."""
    parts: dict[int, Tensor] = {}
    for centre, blocks in atoms:
        displacement = (points - centre) / BOHR
        squared = displacement.square().sum(dim=1)
        harmonics = o3.spherical_harmonics(
            [block.order for block in blocks], displacement, normalize=False, normalization="integral"
        ).T.split([2 * block.order + 1 for block in blocks])
        for (order, exponents, amplitudes), angular in zip(blocks, harmonics, strict=True):
            radial = amplitudes @ torch.exp(-exponents[:, None] * squared)
            part = (radial * angular).sum(dim=1)
            parts[order] = parts[order] + part if order in parts else part
    return torch.stack([parts.get(order, torch.zeros_like(next(iter(parts.values())))) for order in orders], dim=1)
