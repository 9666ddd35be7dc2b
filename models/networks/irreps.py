"""Conversion of irreps between e3nn's classes and the plain tuples of the modules without torch."""

from collections.abc import Iterable

from e3nn import o3

from tesseral.models.networks.paths.selection_rules import Irrep, IrrepSet, in_order
from tesseral.study.parsing.irreps import MulIrrep


def e3nn_irreps(terms: Iterable[MulIrrep]) -> o3.Irreps:
    """The same irreps, in the same order, as e3nn's.

    :param terms: in any order.
    """
    return o3.Irreps([(mul, (order, p)) for mul, order, p in terms])


def irrep_tuple(irreps: o3.Irreps) -> tuple[Irrep, ...]:
    """(l, p) of each term, in order, without multiplicities."""
    return tuple((ir.l, ir.p) for _, ir in irreps)


def irrep_set(irreps: o3.Irreps) -> IrrepSet:
    """The different (l, p), without multiplicities."""
    return frozenset(irrep_tuple(irreps))


def uniform(channels: int, irreps: IrrepSet) -> o3.Irreps:
    """`channels` copies of each irrep, sorted by l, even before odd.

    :param channels: copies of each irrep.
    :param irreps: pairs (l, p).
    """
    return o3.Irreps([(channels, irrep) for irrep in in_order(irreps)])
