"""The auxiliary basis of a density: the shells of each element, and the columns that hold their coefficients.

A density is ρ(r) = Σ_atoms Σ_shells Σ_m c_{shell,m} χ_{shell,m}(r − R_atom). Every χ is a real solid-harmonic
Gaussian of unit norm, ∫χ² = 1, its 2l+1 components in e3nn's order and axes (polar axis y; l = 1 is x, y, z). A shell
is a contraction of primitives n_k r^l exp(−a_k r²) Y_lm, see `radial_norm`. Unit norm makes a coefficient the same
number here, in PySCF and in Psi4.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import gamma, pi, sqrt
from typing import Any, Self

from tesseral.study.constants import SYMBOLS
from tesseral.study.parsing.irreps import MulIrrep

LARGEST_ORDER = 12
"""Largest l of a shell that is read. Auxiliary bases reach 8."""
MOST = 1000
"""Most shells of an element, and most primitives of a shell, that are read."""
LARGEST = 1e12
"""Largest exponent or coefficient that is read."""


@dataclass(frozen=True)
class Shell:
    """One contracted shell of order l: R(r) ∝ r^l Σ_k d_k N_l(a_k) exp(−a_k r²)."""

    l: int  # noqa: E741
    exponents: tuple[float, ...]
    """a_k, bohr⁻²."""
    coefficients: tuple[float, ...]
    """d_k, factors of primitives of unit norm, such that the shell itself has unit norm."""
    isolated: float = 0.0
    """Coefficient of this shell (s alone) in the isolated atom's density, electron · bohr^(−3/2)."""

    @property
    def norm(self) -> float:
        """Σ_k d_k N_l(a_k), where N_l(a) normalises x^l exp(−a r²): N_l² = 2^l (2a)^(l+3/2) / (π^(3/2) (2l−1)!!).

        The water trimers of Rackers & Rao state it as `norms`, with the sign of the contraction.
        """
        return sum(d * _cartesian_norm(self.l, a) for d, a in zip(self.coefficients, self.exponents, strict=True))

    @property
    def charge(self) -> float:
        """∫χ, bohr^(3/2): Σ_k d_k N_0(a_k) (π/a_k)^(3/2) for an s shell, 0 for any other."""
        if self.l:
            return 0.0
        primitives = zip(self.coefficients, self.exponents, strict=True)
        return sum(d * _cartesian_norm(0, a) * (pi / a) ** 1.5 for d, a in primitives)


def radial_norm(order: int, exponent: float) -> float:
    """n with ∫(n r^l exp(−a r²) Y_lm)² = 1, for Y_lm of unit norm on the sphere: n² = 2 (2a)^(l+3/2) / Γ(l+3/2).

    :param order: l.
    :param exponent: a, bohr⁻².
    """
    half = order + 1.5
    return sqrt(2 * (2 * exponent) ** half / gamma(half))


def _cartesian_norm(order: int, exponent: float) -> float:
    double_factorial = 2**order * gamma(order + 0.5) / sqrt(pi)  # (2l − 1)!!
    return sqrt(2**order * (2 * exponent) ** (order + 1.5) / (pi**1.5 * double_factorial))


@dataclass(frozen=True)
class AuxiliaryBasis:
    """Shells by element, sorted by l. All elements share one set of columns, see `layout`."""

    name: str
    shells: dict[int, tuple[Shell, ...]]
    """Atomic number → shells in the order of the stored coefficients."""

    @property
    def layout(self) -> tuple[MulIrrep, ...]:
        """Columns shared by all elements: for each l as many shells as the richest element has, parity (−1)^l.

        An element fills the first columns of each l; the rest are masked. A network can so have one output layout.
        """
        counts = [Counter(shell.l for shell in shells) for shells in self.shells.values()]
        orders = sorted(set().union(*counts))
        return tuple(MulIrrep(max(count[l] for count in counts), l, (-1) ** l) for l in orders)  # noqa: E741

    def size(self, atomic_number: int) -> int:
        """Number of coefficients on an atom of this element, Σ (2l+1).

        :param atomic_number: one of `shells`.
        """
        return sum(2 * shell.l + 1 for shell in self.shells[atomic_number])

    def electrons(self, atomic_numbers: Iterable[int], coefficients: Iterable[Sequence[float]]) -> float:
        """∫ρ, by the closed form of each function's integral.

        :param atomic_numbers: of each atom, all of `shells`.
        :param coefficients: of each atom, in the order of the stored coefficients, electron · bohr^(−3/2).
        """
        return sum(
            charge * float(value)
            for number, values in zip(atomic_numbers, coefficients, strict=True)
            for charge, value in zip(self._charges(number), values, strict=True)
        )

    def _charges(self, atomic_number: int) -> list[float]:
        return [shell.charge for shell in self.shells[atomic_number] for _ in range(2 * shell.l + 1)]

    def columns(self, atomic_number: int) -> list[int]:
        """Column in `layout` of each coefficient on an atom of this element.

        :param atomic_number: one of `shells`.
        """
        start = 0
        next_free: dict[int, int] = {}  # l → first column that no shell has taken yet
        columns: list[int] = []
        for mul, order, _ in self.layout:
            next_free[order] = start
            start += mul * (2 * order + 1)
        for shell in self.shells[atomic_number]:
            columns += range(next_free[shell.l], next_free[shell.l] + 2 * shell.l + 1)
            next_free[shell.l] += 2 * shell.l + 1
        return columns

    def to_json(self) -> str:
        """JSON, as the metadata `tesseral.auxiliary` of a reference file holds it."""
        return json.dumps({"name": self.name, "shells": {z: [asdict(s) for s in v] for z, v in self.shells.items()}})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`.

        :param text: result of `to_json`.
        :raises ValueError: if it is none: wrong types, numbers out of range, or shells out of order.
        """
        try:
            tree = json.loads(text)
        except RecursionError:
            raise ValueError("expected a name and shells, got lists in lists without end") from None
        named = isinstance(tree, dict) and isinstance(tree.get("name"), str)
        if not named or not isinstance(tree.get("shells"), dict) or not tree["shells"]:
            raise ValueError("expected a name and shells by element")
        shells = {}
        for key, rows in tree["shells"].items():
            if not key.isdecimal() or len(key) > 3 or not 1 <= int(key) <= len(SYMBOLS):
                raise ValueError(f"expected an atomic number from 1 to {len(SYMBOLS)}, got {key[:20]!r}")
            shells[int(key)] = tuple(_shell(row, SYMBOLS[int(key) - 1]) for row in _listed(rows, "shells"))
            orders = [shell.l for shell in shells[int(key)]]
            if orders != sorted(orders):
                raise ValueError(f"expected shells in the order of l, {SYMBOLS[int(key) - 1]} has l = {orders}")
        return cls(tree["name"], shells)


def _listed(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST:
        raise ValueError(f"expected a list of 1 to {MOST} {what}")
    return value


def _number(value: Any, what: str, least: float = -LARGEST) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= LARGEST:
        raise ValueError(f"expected a number from {least:g} to {LARGEST:g} as {what}, got {str(value)[:40]}")
    return float(value)


def _shell(row: Any, element: str) -> Shell:
    """A shell of an element as `to_json` writes it."""
    if not isinstance(row, dict) or not {"l", "exponents", "coefficients", "isolated"} <= row.keys():
        raise ValueError(f"expected l, exponents, coefficients and isolated of each shell of {element}")
    order = row["l"]
    if isinstance(order, bool) or not isinstance(order, int) or not 0 <= order <= LARGEST_ORDER:
        raise ValueError(f"expected l from 0 to {LARGEST_ORDER} of each shell of {element}, got {str(order)[:40]}")
    exponents = tuple(_number(a, f"exponent of {element}", 1e-12) for a in _listed(row["exponents"], "exponents"))
    factors = tuple(_number(d, f"coefficient of {element}") for d in _listed(row["coefficients"], "coefficients"))
    if len(exponents) != len(factors):
        raise ValueError(f"expected as many coefficients as exponents of each shell of {element}")
    return Shell(order, exponents, factors, _number(row["isolated"], f"isolated atom's coefficient of {element}"))
