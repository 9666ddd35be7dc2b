"""The Coulomb matrix of an auxiliary basis in closed form, for the Coulomb loss; no quantum chemistry program needed.

With Racah's solid harmonics S_lm(r) = r^l C_lm and Hobson's theorem, S_lm(∇_A) exp(−a|r−A|²) = (2a)^l S_lm(r−A)
exp(−a|r−A|²), every integral of two primitives follows from that of two s functions, K(u) with u = R², R = A − B:

    ∫∫ S_λ(r−A) e^{−a|r−A|²} S_μ(r′−B) e^{−b|r′−B|²} / |r−r′| = (−1)^{l_μ} (2a)^{−l_λ} (2b)^{−l_μ} S_λ(∇) S_μ(∇) K(u),

    K(u) = 2π^{5/2} / (ab √(a+b)) · F_0(pu),    p = ab/(a+b),    dⁿK/duⁿ = (−p)ⁿ 2π^{5/2} / (ab √(a+b)) · F_n(pu),

F_n the Boys function (`boys.py`). The product of two harmonics of one vector is Σ_L g_L |∇|^{l_λ+l_μ−L} (w3j · S_L(∇)),
and

    S_LM(∇) f(u) = 2^L f^{(L)}(u) S_LM(R),    ∇² f(u) = 6 f′(u) + 4u f″(u).

Source of the theorem: Hobson, Proc. Lond. Math. Soc. 24, 55, 1892.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product
from math import pi, sqrt
from typing import NamedTuple

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, radial_norm
from tesseral.models.density.boys import boys_orders
from tesseral.study.constants import BOHR

Array = NDArray[np.float64]


class _Primitives(NamedTuple):
    """All primitives of one order l in a structure."""

    exponents: Array
    """bohr⁻²."""
    centres: Array
    """(primitives, 3), bohr."""
    contraction: Array
    """(shells, primitives): factor of S_lm exp(−ar²) in each shell."""
    first: NDArray[np.int64]
    """(shells,), where the first component of each shell stands in the matrix."""


def coulomb_matrix(basis: AuxiliaryBasis, atomic_numbers: Sequence[int], positions: Array) -> Array:
    """J_ij = ∫∫χ_i(r) χ_j(r′) / |r − r′| dr dr′, as the module derives it.

    :param basis: shells of the elements.
    :param atomic_numbers: of each atom.
    :param positions: Å, shape (atoms, 3).
    :returns: shape (functions, functions), bohr², in the order of the coefficients (atoms, their shells, e3nn's m);
        symmetric to the last bit.
    """
    blocks = _primitives(basis, atomic_numbers, positions)
    size = sum(basis.size(number) for number in atomic_numbers)
    matrix = np.zeros((size, size))
    for left, right in product(sorted(blocks), repeat=2):
        # J is symmetric: a block of l > l′ is the transpose of one that is computed.
        if left > right:
            continue
        values = _block(left, blocks[left], right, blocks[right])  # (shells, 2l+1, shells, 2l'+1)
        rows = (blocks[left].first[:, None] + np.arange(2 * left + 1)).ravel()
        columns = (blocks[right].first[:, None] + np.arange(2 * right + 1)).ravel()
        part = values.reshape(len(rows), len(columns))
        matrix[np.ix_(rows, columns)] = part
        matrix[np.ix_(columns, rows)] = part.T
    # Blocks of equal l were computed whole, and their two triangles differ by rounding: the lower one counts.
    symmetric: Array = np.tril(matrix) + np.tril(matrix, -1).T
    return symmetric


def _primitives(basis: AuxiliaryBasis, atomic_numbers: Sequence[int], positions: Array) -> dict[int, _Primitives]:
    primitives: dict[int, list[tuple[float, Array, float, int]]] = {}  # l → exponent, centre, factor, shell
    shells: dict[int, list[int]] = {}  # l → first function of each shell
    place = 0
    for number, centre in zip(atomic_numbers, positions / BOHR, strict=True):
        for shell in basis.shells[number]:
            own = primitives.setdefault(shell.l, [])
            starts = shells.setdefault(shell.l, [])
            for exponent, weight in zip(shell.exponents, shell.coefficients, strict=True):
                # `radial_norm` goes with Y of unit norm on the sphere, the formulas above with C = √(4π/(2l+1)) Y.
                norm = radial_norm(shell.l, exponent) * sqrt((2 * shell.l + 1) / (4 * pi))
                own.append((exponent, centre, weight * norm, len(starts)))
            starts.append(place)
            place += 2 * shell.l + 1
    blocks = {}
    for order, rows in primitives.items():
        contraction = np.zeros((len(shells[order]), len(rows)))
        for column, (_, _, weight, shell_number) in enumerate(rows):
            contraction[shell_number, column] = weight
        exponents, centres = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        blocks[order] = _Primitives(exponents, centres, contraction, np.array(shells[order]))
    return blocks


def _block(left: int, bra: _Primitives, right: int, ket: _Primitives) -> Array:
    """Integrals of all shells of l = `left` with all of l = `right`, shape (shells, 2l+1, shells, 2l′+1)."""
    a, b = bra.exponents[:, None], ket.exponents[None]
    vectors = bra.centres[:, None] - ket.centres[None]
    u = np.square(vectors).sum(axis=-1)
    derivatives = _derivatives(left + right, a, b, u)
    scale = (-1.0) ** right / ((2 * a) ** left * (2 * b) ** right)
    total = np.zeros((*u.shape, 2 * left + 1, 2 * right + 1))
    points = torch.from_numpy(vectors)
    for order in range(abs(left - right), left + right + 1, 2):
        function = derivatives
        for _ in range((left + right - order) // 2):  # ∇² of every derivative by u that is still needed
            # dⁿ/duⁿ (6 f′ + 4u f″) = (6 + 4n) f⁽ⁿ⁺¹⁾ + 4u f⁽ⁿ⁺²⁾
            n = np.arange(len(function) - 2)[:, None, None]
            function = (6 + 4 * n) * function[1:-1] + 4 * u * function[2:]
        radial = scale * 2.0**order * function[order]
        solid = o3.spherical_harmonics(order, points, normalize=False, normalization="norm").numpy()
        total += np.einsum("pq,pqk,ijk->pqij", radial, solid, _coupling(left, right, order), optimize=True)
    values: Array = np.einsum("sp,pqij,tq->sitj", bra.contraction, total, ket.contraction, optimize=True)
    return values


def _derivatives(most: int, a: Array, b: Array, u: Array) -> Array:
    """dⁿK/duⁿ for n = 0..most, (most + 1, primitives, primitives)."""
    p = a * b / (a + b)
    powers = (-p) ** np.arange(most + 1)[:, None, None]
    values: Array = powers * (2 * pi**2.5 / (a * b * np.sqrt(a + b))) * boys_orders(most, p * u)
    return values


@cache
def _coupling(left: int, right: int, order: int) -> Array:
    """G with C_λ(n) C_μ(n) = Σ_L Σ_M G_λμM C_LM(n) for a unit vector n, shape (2l+1, 2l′+1, 2L+1)."""
    w3j = o3.wigner_3j(left, right, order, dtype=torch.float64)
    # Any unit vector will do, since the contraction below is invariant under rotations.
    direction = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64)
    one, two, three = (
        o3.spherical_harmonics(each, direction, normalize=True, normalization="norm") for each in (left, right, order)
    )
    # Σ_λμ w3j_λμM w3j_λμN = δ_MN / (2L+1), and |C_L|² = 1.
    factor = (2 * order + 1) * torch.einsum("ijk,i,j,k->", w3j, one, two, three)
    coupling: Array = (factor * w3j).numpy()
    coupling.flags.writeable = False
    return coupling
