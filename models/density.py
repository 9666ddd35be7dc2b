"""The density of auxiliary coefficients on points, and ε, the published measure of how two densities differ."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import gamma, sqrt

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.auxiliary import AuxiliaryBasis, Shell

BOHR = 0.52917721092
"""Å in one bohr (CODATA 2010, as PySCF has it: reference positions are the same number in bohr everywhere)."""
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
    fields = [values.unsqueeze(0) for values in coefficients]
    chunks = [
        _by_order(basis, atomic_numbers, positions, fields, chunk)[0] for chunk in torch.split(points.double(), CHUNK)
    ]
    by_order = torch.cat(chunks, dim=1)
    return by_order.sum(dim=0) if order is None else by_order[orders.index(order)]


def epsilon(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    reference: Sequence[Tensor],
    spacing: float = 0.2,
    margin: float = 3.0,
) -> float:
    """ε = 100 · Σ|ρ − ρ_ref| / Σρ_ref over a uniform grid, percent (Rackers & Rao; published with 0.1 Å and 3 Å).

    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order.
    :param reference: of ρ_ref, in the same layout.
    :param spacing: of the grid, Å.
    :param margin: from the outermost atoms to the faces of the grid's box, Å.
    """
    return epsilon_by_order(basis, atomic_numbers, positions, coefficients, reference, spacing, margin)[None]


def epsilon_by_order(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    reference: Sequence[Tensor],
    spacing: float = 0.2,
    margin: float = 3.0,
) -> Mapping[int | None, float]:
    """ε under the key None, and ε_l = 100 · Σ|ρ_l − ρ_ref,l| / Σρ_ref under each l of the basis; see `epsilon`.

    The denominator is the whole reference density for every l.
    """
    orders = [term.l for term in basis.layout]
    fields = [torch.stack([a - b, b]) for a, b in zip(coefficients, reference, strict=True)]
    errors = torch.zeros(len(orders), dtype=torch.float64, device=positions.device)
    whole_error = total = 0.0
    with torch.no_grad():
        for points in uniform_grid(positions, spacing, margin):
            error, expected = _by_order(basis, atomic_numbers, positions, fields, points)
            errors += error.abs().sum(dim=1)
            whole_error += float(error.sum(dim=0).abs().sum())
            total += float(expected.sum())
    parts: dict[int | None, float] = dict(zip(orders, (100 * errors / total).tolist(), strict=True))
    return {None: 100 * whole_error / total} | parts


def uniform_grid(positions: Tensor, spacing: float, margin: float) -> Iterator[Tensor]:
    """Points of a cubic grid over the box of all atoms widened by `margin`, at most `CHUNK` at a time, Å."""
    low = positions.detach().double().amin(dim=0) - margin
    high = positions.detach().double().amax(dim=0) + margin
    counts = ((high - low) / spacing).floor().long() + 1
    for indices in torch.split(torch.arange(int(counts.prod()), device=positions.device), CHUNK):
        steps = torch.stack(
            [indices // (counts[1] * counts[2]), indices // counts[2] % counts[1], indices % counts[2]], dim=1
        )
        yield low + spacing * steps


def _by_order(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    fields: Sequence[Tensor],
    points: Tensor,
) -> Tensor:
    """The part of each l of the basis's layout in one or more densities, shape (densities, orders, points).

    :param fields: for each atom, the coefficients of every density, shape (densities, basis.size(Z)).
    """
    orders = [term.l for term in basis.layout]
    parts: list[Tensor] = [points.new_zeros(len(fields[0]), len(points)) for _ in orders]
    for number, centre, values in zip(atomic_numbers, positions.double(), fields, strict=True):
        displacement = (points - centre) / BOHR
        squared = displacement.square().sum(dim=1)
        start = 0
        # Shells are sorted by l, so each l is one block of columns.
        for order, group in groupby(basis.shells[number], key=lambda shell: shell.l):
            radial = torch.stack([_radial(shell, squared) for shell in group])
            harmonics = o3.spherical_harmonics(order, displacement, normalize=False, normalization="integral")
            size = len(radial) * (2 * order + 1)
            block = values[:, start : start + size].double().unflatten(1, (len(radial), 2 * order + 1))
            start += size
            angular = (block.transpose(1, 2) @ radial) * harmonics.T
            place = orders.index(order)
            parts[place] = parts[place] + angular.sum(dim=1)
    return torch.stack(parts, dim=1)


def _radial(shell: Shell, squared: Tensor) -> Tensor:
    """R of `density_on_points` at squared distances in bohr²; r^l stands in the harmonics."""
    half = shell.l + 1.5
    return sum(
        (
            d * sqrt(2 * (2 * a) ** half / gamma(half)) * torch.exp(-a * squared)
            for d, a in zip(shell.coefficients, shell.exponents, strict=True)
        ),
        torch.zeros_like(squared),
    )
