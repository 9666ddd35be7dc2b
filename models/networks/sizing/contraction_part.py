"""The symmetric contraction as a part. Its paths are counted by characters, without constructing them.

Construction is slow for high degrees, and a size needs only numbers: of paths, which are the weights, and of monomials
(`tesseral.models.networks.products.monomials`), which set the shapes of the matrices.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb, prod
from typing import NamedTuple

from tesseral.models.networks.paths.fusion_paths import MAX_LABELLINGS, paths
from tesseral.models.networks.paths.selection_rules import SCALAR, Irrep, IrrepSet, symmetric_power
from tesseral.models.networks.products.monomials import MAX_BLOCK
from tesseral.models.networks.sizing.atom_parts import ELEMENTS, of
from tesseral.models.networks.sizing.blueprint import Channels, Count, Features, Part, Place, Width, Widths, irreps_of
from tesseral.study.parsing.fusion_tree import comb as left_comb

SURELY_FEW = MAX_LABELLINGS // 24
"""Up to this many paths there are at most `MAX_LABELLINGS` labellings: four equal leaves have at most 4! a path."""


class Content(NamedTuple):
    """The monomials whose factors belong to one multiset of irreps."""

    irreps: frozenset[Irrep]
    parity: int
    monomials: int
    """Number of monomials."""
    paths: dict[Irrep, int]
    """Number of independent paths to each irrep."""


@dataclass(frozen=True)
class SymmetricContractionPart(Part):
    """`tesseral.models.networks.products.symmetric_contraction`: powers of each channel, weighted for each element."""

    wanted: IrrepSet
    correlation: int
    channels: Width

    def produces(self, *inputs: Features) -> Features:
        """The wanted irreps that some power contains."""
        contents = _contents(irreps_of(inputs[0]), self.wanted, self.correlation)
        reached = {irrep for content in contents for irrep in content.paths}
        return frozenset(Channels(irrep, self.channels) for irrep in reached)

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """All irreps in the contents of wanted paths."""
        ends = irreps_of(wanted)
        contents = _contents(irreps_of(inputs[0]), self.wanted, self.correlation)
        used = [content.irreps for content in contents if not ends.isdisjoint(content.paths)]
        return (of(inputs[0], frozenset().union(*used)),)

    def count(self, place: Place, widths: Widths) -> Count:
        """A weight for each path, channel and element.

        Weights times coefficients give a matrix, once a step, and every atom's monomials are multiplied by it.
        """
        number, live, meeting, matrix = _numbers(self, place)
        each = widths[self.channels] * widths[ELEMENTS]
        return Count(
            each * number,
            each * live,
            atom=place.for_feature * each * meeting,
            step=place.for_constant * each * matrix,
        )


@lru_cache(maxsize=1024)
def _numbers(part: SymmetricContractionPart, place: Place) -> tuple[int, int, int, int]:
    """For one channel and element: paths, live paths, entries of the matrix, multiplications that compute it."""
    contents = _contents(irreps_of(place.inputs[0]), part.wanted, part.correlation)
    number = live = meeting = matrix = 0
    for irrep in irreps_of(place.produced):
        more = sum(content.paths.get(irrep, 0) for content in contents)
        number += more
        live += more * (irrep in irreps_of(place.live))
        dim = 2 * irrep[0] + 1
        blocks = list(_blocks(contents, irrep))
        meeting += dim * sum(monomials for _, monomials in blocks)
        matrix += dim * sum(rows * monomials for rows, monomials in blocks)
    return number, live, meeting, matrix


def _blocks(contents: tuple[Content, ...], irrep: Irrep) -> Iterator[tuple[int, int]]:
    """Paths and monomials of each block of an irrep's matrix, joined as in `products.contraction_plan`."""
    rows = monomials = 0
    for content in contents:
        if content.parity == irrep[1]:
            more, wider = content.paths.get(irrep, 0), content.monomials
            # The rule of `contraction_plan._join`, which sets the shapes of the matrices that torch counts.
            if monomials and (rows + more) * (2 * irrep[0] + 1) * (monomials + wider) > MAX_BLOCK:
                yield rows, monomials
                rows = monomials = 0
            rows, monomials = rows + more, monomials + wider
    yield rows, monomials


@lru_cache(maxsize=256)
def _contents(irreps: IrrepSet, wanted: IrrepSet, correlation: int) -> tuple[Content, ...]:
    """All contents of degree 1..correlation, in the order of the contraction's monomials.

    :raises TesseralError: if there are too many paths to build.
    """
    ordered = sorted(irreps, key=lambda irrep: (irrep[0], -irrep[1]))
    contents = tuple(
        _content(taken, wanted)
        for degree in range(1, correlation + 1)
        for taken in combinations_with_replacement(ordered, degree)
    )
    if sum(sum(content.paths.values()) for content in contents) > SURELY_FEW:
        paths(left_comb("x", correlation), {"x": irreps}, wanted)  # raises if it finds too many labellings
    return contents


def _content(taken: tuple[Irrep, ...], wanted: IrrepSet) -> Content:
    """Couple the symmetric powers of the different irreps in `taken` one after the other, counting multiplicities."""
    powers, total, monomials = Counter(taken), Counter({SCALAR: 1}), 1
    for (order, parity), n in powers.items():
        monomials *= comb(2 * order + n, n)
        more: Counter[Irrep] = Counter()
        for (left, p), number in total.items():
            for term in symmetric_power(order, parity, n):
                # The Clebsch-Gordan series: each l from |l₁ − l₂| to l₁ + l₂ once.
                for result in range(abs(left - term.l), left + term.l + 1):
                    more[result, p * term.p] += number * term.mul
        total = more
    parity = prod(p for _, p in taken)
    return Content(frozenset(taken), parity, monomials, {irrep: total[irrep] for irrep in wanted & total.keys()})
