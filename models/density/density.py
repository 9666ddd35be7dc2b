"""The density on points, and ε, the published measure of how two densities differ."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from math import ceil
from operator import neg

import torch
from torch import Tensor

from tesseral.models.compiled.library import NoLibraryError
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.order_sums import OrderSums, knows
from tesseral.models.density.primitives import Block, Element, primitives
from tesseral.models.density.quadrature import Grid, Quadrature, along_curve, atom_grid
from tesseral.models.density.solid_harmonics import solid_harmonics
from tesseral.study.constants import BOHR

CHUNK = 2048
"""Points evaluated at once: few enough to lie near one another, so that far primitives are skipped for all of them."""
PAIRS = 16384
"""Most atoms × points evaluated at once: memory stays below about 20 MB for any number of either."""
LEVELS = 4
"""Groups into which the atoms of an element are sorted by how many primitives reach the points."""


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

    so that ∫χ² = 1. Computed in double precision; a gradient passes to positions and coefficients. Primitives below
    `tesseral.models.density.primitives.NEGLIGIBLE` on a whole chunk of points are skipped there.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param points: Å, shape (points, 3).
    :param order: only the shells of this l; None: all shells.
    :returns: electron · bohr⁻³, shape (points,).
    """
    if not len(points):
        return points.new_zeros(0, dtype=torch.float64)
    elements = primitives(basis, atomic_numbers, positions, [coefficients])
    orders = [term.l for term in basis.layout] if order is None else [order]
    near = along_curve(points)
    chunks = points.double()[near].split(_chunk(len(atomic_numbers)))
    along = torch.cat([_by_order(orders, elements, chunk)[0].sum(dim=0) for chunk in chunks])
    return torch.empty_like(along).index_copy(0, near, along)  # back in the order of `points`


def epsilon_by_order(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    reference: Sequence[Tensor],
    grid: Quadrature | None = None,
) -> Mapping[int | None, float]:
    """ε = 100 · ∫|ρ − ρ_ref| / ∫ρ_ref, and for each l of the basis ε_l = 100 · ∫|ρ_l − ρ_ref,l| / ∫ρ_ref, percent.

    ρ_l is the part of the shells of order l; the denominator of ε_l is the whole density, so that the ε_l compare.

    Source: Rackers & Rao, arXiv 2210.04766. They sum over a uniform grid of 0.1 Å that ends 3 Å from the atoms, see
    `tesseral.models.density.uniform_grid.cube_grid`; its `COARSE` levels keep about one point in 20 and
    change ε by at most 0.22 %, ε_l by at most 0.49 %, of themselves. Such a grid does not resolve a core: ε on it
    changes by up to 6 % of itself as a water molecule moves, and for H2S it was 30 % away from that on the atoms' grid.

    Memory does not grow with the number of points, except for what `grid` itself holds.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param reference: of ρ_ref, in the same layout.
    :param grid: quadrature of the integrals; None: `atom_grid(positions)`. On it ε changes by less than 0.2 % of itself
        and ε_l by less than 1 % as a molecule moves or turns, unless the error is confined to a core (exponents above
        50 bohr⁻²): for one such error in LiH, ε came out 0.9 % too small.
    :returns: l → ε_l, and None → ε.
    """
    orders = [term.l for term in basis.layout]
    grid = atom_grid(positions) if grid is None else grid
    with torch.no_grad():
        error_of = [a - b for a, b in zip(coefficients, reference, strict=True)]
        elements = primitives(basis, atomic_numbers, positions, [error_of, reference])
        chunks = grid.chunks(_chunk(len(atomic_numbers)))
        errors, electrons = _sums(orders, elements, chunks, positions.device)
    return dict(zip([*orders, None], (100 * errors / electrons).tolist(), strict=True))


def _sums(
    orders: Sequence[int], elements: Sequence[Element], chunks: Iterable[Grid], device: torch.device
) -> tuple[Tensor, Tensor]:
    """∫|ρ_l| of the first density for each l, and ∫|ρ|, shape (orders + 1,); and ∫ρ of the second, ()."""
    if knows(orders, device):
        with suppress(NoLibraryError):
            compiled = OrderSums(orders, elements)
            for points, weights in chunks:
                compiled.add(points, weights)
            return compiled.sums
    errors = torch.zeros(len(orders) + 1, dtype=torch.float64, device=device)
    electrons = torch.zeros_like(errors[0])
    for points, weights in chunks:
        error, expected = _by_order(orders, elements, points, 2)
        errors += torch.cat([error, error.sum(dim=0, keepdim=True)]).abs() @ weights
        electrons += expected.sum(dim=0) @ weights
    return errors, electrons


def _chunk(atoms: int) -> int:
    """Points at once: `CHUNK`, and more where there are few atoms, so that the work outweighs the calls."""
    return min(max(PAIRS // atoms, CHUNK), 4 * CHUNK)


def _by_order(orders: Sequence[int], elements: Sequence[Element], points: Tensor, densities: int = 1) -> list[Tensor]:
    """The part ρ_l of each density for each order l, shape (orders, points).

    :param elements: from `primitives`, with `densities` densities in it.
    :param points: Å, shape (points, 3), near one another.
    """
    points = points / BOHR
    low, high = points.detach().amin(dim=0), points.detach().amax(dim=0)
    parts: list[list[list[Tensor]]] = [[[] for _ in orders] for _ in range(densities)]
    for element in elements:
        blocks = [block for block in element.blocks if block.order in orders]
        if not blocks:
            continue
        centres = element.centres.detach()
        outside = torch.maximum(low - centres, centres - high).clamp(min=0).norm(dim=1)
        for atoms, counts in _near(outside.tolist(), blocks, len(points)):
            chosen = torch.tensor(atoms, device=points.device)
            x, y, z = (points[:, axis] - element.centres[chosen, axis, None] for axis in range(3))
            exponents = torch.cat([block.exponents[:count] for block, count in zip(blocks, counts, strict=True)])
            squared = (x * x + y * y + z * z)[:, None]
            values = (-exponents[:, None] * squared).exp_().split(counts, dim=1)
            kept = [item for item in zip(blocks, counts, values, strict=True) if item[1]]
            harmonics = solid_harmonics(kept[-1][0].order, x, y, z)
            for block, count, value in kept:
                # Where every atom is chosen, indexing would copy for nothing.
                amplitudes = block.amplitudes if len(atoms) == len(centres) else block.amplitudes[chosen]
                radial = torch.bmm(amplitudes[..., :count], value)
                place = orders.index(block.order)
                for density, part in zip(parts, radial.split(2 * block.order + 1, dim=1), strict=True):
                    density[place].append((part * harmonics[block.order] if block.order else part).sum(dim=(0, 1)))
    zero = points.new_zeros(len(points))
    return [torch.stack([sum(part, zero) for part in density]) for density in parts]


def _near(outside: Sequence[float], blocks: Sequence[Block], points: int) -> Iterator[tuple[list[int], list[int]]]:
    """Groups of atoms of one element that need about equally many primitives, with that number for each block.

    :param outside: distance of each atom from the box of the points, bohr.
    :param points: number of points; atoms × points stays below `PAIRS`.
    """
    reach = sorted((extent for block in blocks for extent in block.extents), reverse=True)
    ranked = sorted(range(len(outside)), key=outside.__getitem__)
    for _, group in groupby(ranked, key=lambda atom: ceil(LEVELS * _above(reach, outside[atom]) / len(reach))):
        atoms = list(group)
        # The nearest atom of a group comes first, and needs every primitive that the others need.
        counts = [_above(block.extents, outside[atoms[0]]) for block in blocks]
        if any(counts):
            step = max(1, PAIRS // points)
            atoms.sort()  # a group of all atoms then equals the block's own order, and needs no copy
            for start in range(0, len(atoms), step):
                yield atoms[start : start + step], counts


def _above(falling: Sequence[float], value: float) -> int:
    """Number of entries of a descending sequence that lie above a value."""
    return bisect_left(falling, -value, key=neg)
