"""Electric multipoles of a molecule from the coefficients of its density, in closed form."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations, product
from math import comb, factorial, gamma, pi, sqrt

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell, radial_norm
from tesseral.study.constants import BOHR

ORDERS = (0, 1, 2, 3)
"""l of charge, dipole, quadrupole and octupole."""
_SLICES = [slice(order**2, (order + 1) ** 2) for order in ORDERS]
_COMPONENTS = 16  # Σ (2l+1)


def moments(
    basis: AuxiliaryBasis,
    atomic_numbers: Sequence[int],
    positions: Tensor,
    coefficients: Sequence[Tensor],
    charge: float | None = None,
) -> dict[int, Tensor]:
    r"""Q_lm = Σ_A Z_A C_lm(R_A − C) − ∫ρ(r) C_lm(r − C) dr for l = 0…3, about the centre of nuclear charge C.

    C_lm(r) = |r|^l √(4π/(2l+1)) Y_lm(r) is the real solid harmonic of Racah's normalisation, in e3nn's order and
    axes: traceless, Σ_m C_lm² = r^2l, l = 1 is (x, y, z). About the centre of nuclear charge, a translation of the
    molecule changes no moment. Each atom's own moments (`local_moments`) are moved there (`translated`). Computed in
    double precision; a gradient passes to positions and coefficients.

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param positions: Å, shape (atoms, 3).
    :param coefficients: of ρ, for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
    :param charge: total charge of the molecule, e; ρ is scaled to Σ Z_A − charge electrons. None: ρ as it is.
    :returns: l → shape (2l+1,), e · bohr^l.
    """
    positions = positions.double()
    displacements = (positions - centre_of_charge(atomic_numbers, positions)) / BOHR
    electrons = local_moments(basis, atomic_numbers, coefficients)
    if charge is not None:
        electrons = electrons * ((sum(atomic_numbers) - charge) / electrons[:, 0].sum())
    nuclei = torch.zeros_like(electrons)
    nuclei[:, 0] = nuclei.new_tensor(list(atomic_numbers))
    total = translated(nuclei - electrons, displacements).sum(dim=0)
    return {order: total[part] for order, part in zip(ORDERS, _SLICES, strict=True)}


def centre_of_charge(atomic_numbers: Sequence[int], positions: Tensor) -> Tensor:
    """Centre of nuclear charge, Σ_A Z_A R_A / Σ_A Z_A.

    :param atomic_numbers: one of each atom.
    :param positions: any unit of length, shape (atoms, 3).
    :returns: in that unit, shape (3,).
    """
    charges = positions.new_tensor(list(atomic_numbers))
    return charges @ positions / charges.sum()


def local_moments(basis: AuxiliaryBasis, atomic_numbers: Sequence[int], coefficients: Sequence[Tensor]) -> Tensor:
    r"""Moments of each atom's own functions about the atom, q_A,lm = ∫ρ_A(r) C_lm(r − R_A) dr.

    A function Y_lm has one moment, that of its own l and m. With primitives n_k r^l exp(−a_k r²) Y_lm of unit norm,

        q_lm = Σ_shells c_m √(4π/(2l+1)) Σ_k d_k n_k Γ(l+3/2) / (2 a_k^(l+3/2)).

    :param basis: shells of each element.
    :param atomic_numbers: one of each atom.
    :param coefficients: for each atom, shape (basis.size(Z),), e3nn's order, electron · bohr^(−3/2).
        Atoms may belong to several structures.
    :returns: l = 0…3 concatenated, shape (atoms, 16), e · bohr^l.
    """
    like = coefficients[0]
    projections = {
        number: _projection(basis.shells[number]).to(like.device) for number in dict.fromkeys(atomic_numbers)
    }
    pairs = zip(atomic_numbers, coefficients, strict=True)
    return torch.stack([projections[number] @ values.double() for number, values in pairs])


def translated(local: Tensor, displacements: Tensor) -> Tensor:
    r"""Moments about another point. With d the old centre as seen from the new one,

        C_LM(r + d) = Σ_{l≤L} binom(L, l) Σ_m C_lm(r) ⟨T_lm, T_LM · d^(L−l)⟩ / |T_lm|²,

    where T_LM is the symmetric traceless tensor with C_LM(r) = T_LM · r^L, see `harmonic_tensors`. A point charge q
    has the moments q C_LM(d).

    :param local: shape (…, 16), e · bohr^l.
    :param displacements: d, bohr, shape (…, 3).
    :returns: shape (…, 16).
    """
    powers = [torch.ones_like(displacements[..., :1])]  # d ⊗ d ⊗ …, the last axis flattened to 3^k
    for _ in ORDERS[1:]:
        powers.append((powers[-1].unsqueeze(-1) * displacements.unsqueeze(-2)).flatten(-2))
    parts = []
    for upper in ORDERS:
        total = torch.zeros_like(local[..., _SLICES[upper]])
        for lower in range(upper + 1):
            coupling = _coupling(upper, lower).to(local.device)
            total = total + torch.einsum(
                "...m,...k,Mmk->...M", local[..., _SLICES[lower]], powers[upper - lower], coupling
            )
        parts.append(total)
    return torch.cat(parts, dim=-1)


@cache
def harmonic_tensors(order: int) -> Tensor:
    """T_lm, symmetric and traceless, with C_lm(r) = Σ T_lm,ij… r_i r_j …

    Computed by the polarisation identity, exact for a homogeneous polynomial f of degree l:
    T(u_1, …, u_l) = (1/l!) Σ_{S ⊆ 1…l} (−1)^(l−|S|) f(Σ_{i∈S} u_i).

    :param order: l, 0 to 3.
    :returns: shape (2l+1, 3, …, 3), double precision.
    """
    axes = torch.eye(3, dtype=torch.float64)
    entries = []
    for indices in product(range(3), repeat=order):
        subsets = (chosen for size in range(order + 1) for chosen in combinations(indices, size))
        terms = [(-1) ** (order - len(chosen)) * _racah(order, axes[list(chosen)].sum(dim=0)) for chosen in subsets]
        entries.append(torch.stack(terms).sum(dim=0) / factorial(order))
    return torch.stack(entries, dim=1).reshape(2 * order + 1, *[3] * order)


def _racah(order: int, points: Tensor) -> Tensor:
    harmonics: Tensor = o3.spherical_harmonics(order, points, normalize=False, normalization="norm")
    return harmonics


@cache
def _coupling(upper: int, lower: int) -> Tensor:
    """binom(L, l) ⟨T_lm, T_LM⟩ / |T_lm|² over the first l indices, shape (2L+1, 2l+1, 3^(L−l))."""
    large = harmonic_tensors(upper).reshape(2 * upper + 1, 3**lower, 3 ** (upper - lower))
    small = harmonic_tensors(lower).reshape(2 * lower + 1, 3**lower)
    norms = small.square().sum(dim=1)
    return comb(upper, lower) * torch.einsum("Mik,mi->Mmk", large, small / norms[:, None])


@cache
def _projection(shells: tuple[Shell, ...]) -> Tensor:
    """From an atom's coefficients to its moments about itself, shape (16, functions)."""
    matrix = torch.zeros(_COMPONENTS, sum(2 * shell.l + 1 for shell in shells), dtype=torch.float64)
    column = 0
    for shell in shells:
        width = 2 * shell.l + 1
        # A function has no moment but that of its own l; those of l > 3 are not asked for.
        if shell.l in ORDERS:
            matrix[_SLICES[shell.l], column : column + width] = _radial_moment(shell) * torch.eye(
                width, dtype=torch.float64
            )
        column += width
    return matrix


def _radial_moment(shell: Shell) -> float:
    """√(4π/(2l+1)) Σ_k d_k n_k Γ(l+3/2) / (2 a_k^(l+3/2)), the moment of a unit coefficient; see `local_moments`."""
    half = shell.l + 1.5
    primitives = zip(shell.coefficients, shell.exponents, strict=True)
    radial = sum(d * radial_norm(shell.l, a) * gamma(half) / (2 * a**half) for d, a in primitives)
    return sqrt(4 * pi / (2 * shell.l + 1)) * radial
