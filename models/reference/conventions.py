"""Other programs' components as e3nn's: real harmonics about another axis, and Cartesian tensors.

**Real harmonics.** Quantum chemistry's polar axis is z: Y_lm(x, y, z) with m = −l, …, l. e3nn's is y, and its harmonics
are the same polynomials in permuted coordinates: Y^e3nn_lm(x, y, z) = Y_lm(z, x, y). Positions stay as they are; each
block of 2l+1 coefficients is multiplied by the orthogonal matrix Q_l of `change_of_basis`.

**Cartesian tensors.** A tensor T of rank n with axes (x, y, z) has the component ⟨T, E⟩ = Σ T_ij… E_ij… along each
basis tensor E of

    rank 0:  0e                  E = 1
    rank 1:  1o                  the unit vectors, so that (x, y, z) stays (x, y, z)
    rank 2:  0e + 1e + 2e        E_0 = δ_ij/√3, E_1a = ε_aij/√2, and r·E_2m·r ∝ Y_2m(r)
    rank 3:  1o + 3o             of the totally symmetric tensors: E_1a·rrr ∝ r² Y_1a(r), E_3m·rrr ∝ Y_3m(r)

with positive factors, Y in e3nn's order and axes, and ‖E‖² = Σ E_ij…² = 1. The squared norm of a symmetric tensor is
therefore that of its components, and the 0e of a polarizability is trace/√3, √3 times its mean.
"""

from functools import cache
from itertools import permutations

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray

from tesseral.study.parsing.irreps import MulIrrep

Array = NDArray[np.float64]

_SAMPLES = 64  # random points: more than the 2l+1 harmonics of any basis, and than the ten coefficients of a cubic


@cache
def change_of_basis(order: int) -> NDArray[np.float64]:
    """Q_l with Y^e3nn = Q_l Y, shape (2l+1, 2l+1), orthogonal; Y is in the order m = −l, …, l about the z axis.

    By the definition above, Y(r) = Y^e3nn(P r) with P (x, y, z) = (y, z, x), so that Q_l solves
    Y^e3nn(r) = Q_l Y^e3nn(P r) for every r. For l = 1, in the order (y, z, x), it is the permutation to (x, y, z).

    :param order: l.
    """
    directions = torch.randn(_SAMPLES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cartesian = o3.spherical_harmonics(order, directions, normalize=True)
    polar_z = o3.spherical_harmonics(order, directions[:, [1, 2, 0]], normalize=True)
    solution = torch.linalg.lstsq(polar_z, cartesian).solution.T.numpy()
    # The squares of a quarter turn's elements are multiples of 4^-l. Rounded to these, the elements are exact, and the
    # same on every machine: they enter stored coefficients.
    matrix: NDArray[np.float64] = np.sign(solution) * np.sqrt(np.round(solution**2 * 4**order) / 4**order) + 0.0
    matrix.flags.writeable = False
    return matrix


@cache
def basis_tensors(rank: int) -> dict[tuple[int, int], Array]:
    """(l, p) → basis tensors of that irrep, shape (2l+1, 3, …, 3).

    :param rank: number of axes of a tensor, 0 to 3.
    :raises ValueError: if the rank is above 3.
    """
    basis: dict[tuple[int, int], Array]
    if rank == 0:
        basis = {(0, 1): np.ones(1)}
    elif rank == 1:
        basis = {(1, -1): np.eye(3)}
    elif rank == 2:
        basis = {(0, 1): _symmetric(0, 2), (1, 1): _levi_civita() / np.sqrt(2), (2, 1): _symmetric(2, 2)}
    elif rank == 3:
        basis = {(1, -1): _symmetric(1, 3), (3, -1): _symmetric(3, 3)}
    else:
        raise ValueError(f"expected a tensor of rank 0 to 3, got {rank}")
    for tensors in basis.values():
        tensors.flags.writeable = False
    return basis


def to_irreps(tensors: Array, irreps: tuple[MulIrrep, ...], rank: int) -> tuple[Array, Array]:
    """Components of Cartesian tensors in `irreps`, and the share of each tensor that these leave out.

    :param tensors: shape (…, 3, …, 3); the last `rank` axes are those of the tensor.
    :param irreps: irreps to keep, each once, in the order of the components.
    :param rank: number of axes of a tensor, 0 to 3.
    :returns: components, shape (…, Σ(2l+1)), and ‖T − its part in `irreps`‖ / ‖T‖, shape (…), 0 for T = 0.
    """
    axes = tuple(range(-rank, 0))
    basis = np.concatenate([basis_tensors(rank)[term.l, term.p] for term in irreps])
    components = np.tensordot(tensors, basis, axes=(axes, tuple(range(1, rank + 1)))) if rank else tensors[..., None]
    rest = tensors - from_irreps(components, irreps, rank)
    norm = np.sqrt(np.sum(tensors**2, axis=axes))
    left_out = np.sqrt(np.sum(rest**2, axis=axes))
    return components, np.divide(left_out, norm, out=np.zeros_like(norm), where=norm > 0)


def from_irreps(components: Array, irreps: tuple[MulIrrep, ...], rank: int) -> Array:
    """Cartesian tensors Σ_k components_k · E_k from their components in irreps.

    It undoes `to_irreps` where the irreps leave nothing of the tensor out.

    :param components: shape (…, Σ(2l+1)), in the order of `irreps`.
    :param irreps: each once, irreps of `basis_tensors(rank)`; multiplicities do not count.
    :param rank: number of axes of a tensor, 0 to 3.
    :returns: shape (…, 3, …, 3), `rank` axes of 3 at the end; the unit is that of the components.
    :raises KeyError: if a tensor of this rank has no such irrep.
    :raises ValueError: if the rank is above 3.
    """
    basis = np.concatenate([basis_tensors(rank)[term.l, term.p] for term in irreps])
    result: Array = np.tensordot(components, basis, axes=1)
    return result


def _symmetric(order: int, rank: int) -> Array:
    """Totally symmetric E_m with E_m·r…r ∝ |r|^(rank − l) Y_lm(r) by a positive factor.

    A homogeneous cubic has ten coefficients, a quadratic form six; they follow from its values at random points.
    """
    points = torch.randn(_SAMPLES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = o3.spherical_harmonics(order, points, normalize=False) * points.norm(dim=1, keepdim=True) ** (rank - order)
    powers = points.numpy()
    for _ in range(rank - 1):
        powers = powers[..., None] * points.numpy().reshape(_SAMPLES, *[1] * (powers.ndim - 1), 3)
    # The solution of least norm is the symmetric one: equal monomials share their coefficient evenly.
    flat = np.linalg.lstsq(powers.reshape(_SAMPLES, -1), values.numpy(), rcond=None)[0].T
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    # The squares are multiples of 1/120: exact elements, the same on every machine.
    exact: Array = np.sign(unit) * np.sqrt(np.round(unit**2 * 120) / 120) + 0.0
    return exact.reshape(-1, *[3] * rank)


def _levi_civita() -> Array:
    result = np.zeros((3, 3, 3))
    for a, b, c in permutations(range(3)):
        result[a, b, c] = (a - b) * (b - c) * (c - a) / 2
    return result
