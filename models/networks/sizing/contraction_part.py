"""The symmetric contraction as a part: its paths and operations, counted by characters alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb, prod
from typing import NamedTuple

from tesseral.models.networks.paths.fusion_paths import MOST, paths
from tesseral.models.networks.paths.selection_rules import SCALAR, Irrep, Orders, symmetric_power
from tesseral.models.networks.products.monomials import LARGEST
from tesseral.models.networks.sizing.blueprint import Channels, Count, Features, Part, Place, Width, Widths, orders
from tesseral.models.networks.sizing.parts import ELEMENTS, of
from tesseral.study.parsing import fusion_tree as diagram

MANY = MOST // 24
"""Paths from which on there may be more than `MOST` labellings: of four equal leaves, 4! for each path at most."""


class Content(NamedTuple):
    """The monomials of one choice of irreps."""

    irreps: frozenset[Irrep]
    parity: int
    monomials: int
    paths: dict[Irrep, int]
    """How many of them, independent, make each irrep."""


@dataclass(frozen=True)
class SymmetricContraction(Part):
    """Of `tesseral.models.networks.products.symmetric_contraction`: the powers of each channel, with weights for each
    element."""

    asked: Orders
    correlation: int
    channels: Width

    def makes(self, *inputs: Features) -> Features:
        """What is asked that a power holds."""
        contents = _contents(orders(inputs[0]), self.asked, self.correlation)
        made = {irrep for content in contents for irrep in content.paths}
        return frozenset(Channels(irrep, self.channels) for irrep in made)

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """All that a wanted power takes."""
        ends = orders(wanted)
        contents = _contents(orders(inputs[0]), self.asked, self.correlation)
        return (of(inputs[0], frozenset().union(*(one.irreps for one in contents if not ends.isdisjoint(one.paths)))),)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each path, channel and element; they enter a matrix, and that meets the monomials of an atom."""
        number, live, meeting, matrix = _numbers(self, place)
        each = widths[self.channels] * widths[ELEMENTS]
        return Count(
            each * number,
            each * live,
            atom=place.for_feature * each * meeting,
            step=place.for_constant * each * matrix,
        )


@lru_cache(maxsize=1024)
def _numbers(part: SymmetricContraction, place: Place) -> tuple[int, int, int, int]:
    """Of one channel and element: paths, live ones, coefficients of the matrix, and pairs of factors that make it."""
    contents = _contents(orders(place.inputs[0]), part.asked, part.correlation)
    number = live = meeting = matrix = 0
    for irrep in orders(place.made):
        more = sum(content.paths.get(irrep, 0) for content in contents)
        number += more
        live += more * (irrep in orders(place.live))
        dim = 2 * irrep[0] + 1
        blocks = list(_blocks(contents, irrep))
        meeting += dim * sum(monomials for _, monomials in blocks)
        matrix += dim * sum(rows * monomials for rows, monomials in blocks)
    return number, live, meeting, matrix


def _blocks(contents: tuple[Content, ...], irrep: Irrep) -> Iterator[tuple[int, int]]:
    """Paths and monomials of each product that makes the matrix of an irrep."""
    rows = monomials = 0
    for content in contents:
        if content.parity == irrep[1]:
            more, wider = content.paths.get(irrep, 0), content.monomials
            if monomials and (rows + more) * (2 * irrep[0] + 1) * (monomials + wider) > LARGEST:
                yield rows, monomials
                rows = monomials = 0
            rows, monomials = rows + more, monomials + wider
    yield rows, monomials


@lru_cache(maxsize=256)
def _contents(irreps: Orders, asked: Orders, correlation: int) -> tuple[Content, ...]:
    """All contents of degree 1..correlation, in the order of the module.

    :raises TesseralError: if there are too many paths to build.
    """
    ordered = sorted(irreps, key=lambda irrep: (irrep[0], -irrep[1]))
    contents = tuple(
        _content(taken, asked)
        for degree in range(1, correlation + 1)
        for taken in combinations_with_replacement(ordered, degree)
    )
    if sum(sum(content.paths.values()) for content in contents) > MANY:
        paths(diagram.comb("x", correlation), {"x": irreps}, asked)  # which refuses them if they are too many to build
    return contents


def _content(taken: tuple[Irrep, ...], asked: Orders) -> Content:
    powers, made, monomials = Counter(taken), Counter({SCALAR: 1}), 1
    for (order, parity), n in powers.items():
        monomials *= comb(2 * order + n, n)
        more: Counter[Irrep] = Counter()
        for (left, p), number in made.items():
            for term in symmetric_power(order, parity, n):
                for made_order in range(abs(left - term.l), left + term.l + 1):
                    more[made_order, p * term.p] += number * term.mul
        made = more
    parity = prod(p for _, p in taken)
    return Content(frozenset(taken), parity, monomials, {irrep: made[irrep] for irrep in asked & made.keys()})
