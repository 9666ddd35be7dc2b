"""Irreps of O(3) as text and as plain tuples, without e3nn or torch."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from tesseral.study.errors import TesseralError

Irrep = tuple[int, int]
"""Order and parity (l, p), p = ±1."""

_TERM = re.compile(r"(?:(\d+)x)?(\d+)([eo])")


class MulIrrep(NamedTuple):
    """`mul` copies of the irrep of order l and parity p (+1 even, −1 odd); dimension mul·(2l+1)."""

    mul: int
    l: int  # noqa: E741 - the field's own letter
    p: int

    def __str__(self) -> str:
        return f"{self.mul}x{self.l}{'e' if self.p == 1 else 'o'}"


def parse_irreps(text: str) -> tuple[MulIrrep, ...]:
    """Parse e3nn's notation, such as `16x0e+8x1o`, in the given order.

    :param text: such as `16x0e+8x1o`.
    :raises TesseralError: if `text` is empty or a term is not `MULxLP` with parity `e` or `o`.
    """
    terms = []
    for term in text.replace(" ", "").split("+"):
        match = _TERM.fullmatch(term)
        if match is None:
            raise TesseralError(
                f"expected irreps such as '16x0e+8x1o', got {term!r} in {text!r}; "
                "valid terms are a multiplicity, 'x', an order l and a parity e or o"
            )
        mul, order, parity = match.groups()
        terms.append(MulIrrep(int(mul or 1), int(order), 1 if parity == "e" else -1))
    return tuple(terms)


def format_irreps(terms: Iterable[MulIrrep]) -> str:
    """Return canonical text: sorted by l, even before odd, with equal irreps joined and empty ones dropped.

    >>> format_irreps(parse_irreps("4x1o+2x0o+3x0e+1x1o"))
    '3x0e+2x0o+5x1o'

    :param terms: in any order.
    """
    total: dict[tuple[int, int], int] = {}
    for mul, order, parity in terms:
        total[order, parity] = total.get((order, parity), 0) + mul
    kept = (MulIrrep(mul, *key) for key, mul in sorted(total.items(), key=lambda i: (i[0][0], -i[0][1])) if mul)
    return "+".join(str(term) for term in kept)
