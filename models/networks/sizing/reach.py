"""Unreachable outputs and dead hidden irreps: what no weights can change, known from selection rules alone."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.models.networks.sizing.architecture import blueprint
from tesseral.models.networks.sizing.blueprint import Blueprint, irreps_of
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.parsing.irreps import MulIrrep

NOWHERE = "dead: never produced in some layers, never read in the others"
"""Why an irrep that is dead in every layer is so, where the reason is not one."""


class Dead(NamedTuple):
    """A hidden irrep of the configuration that is dead in one layer: no weights of it count."""

    layer: int
    """Counted from 1 at the input."""
    irrep: MulIrrep
    reason: Literal["never produced", "never read"]
    """Whether no path makes it, or no output of the network depends on it. The words are stored in records."""


def unreachable(configuration: Configuration, layout: tuple[MulIrrep, ...]) -> tuple[MulIrrep, ...]:
    """The terms of `layout`, in its order, that this configuration's network predicts as exactly zero.

    `Quantity.unreached` translates them into irreps of the target.

    :param configuration: of a network without `network.define`.
    :param layout: irreps of the outputs.
    """
    network, _ = blueprint(configuration, layout, elements=1)  # reach does not depend on the number of elements
    return missing_outputs(network, layout)


def missing_outputs(network: Blueprint, layout: tuple[MulIrrep, ...]) -> tuple[MulIrrep, ...]:
    """The terms of `layout` that the network of this blueprint predicts as exactly zero.

    :param network: drawn for these outputs.
    :param layout: irreps of the outputs.
    """
    reached = irreps_of(network.outputs)
    return tuple(term for term in layout if (term.l, term.p) not in reached)


def dead_irreps(network: Blueprint, terms: Iterable[MulIrrep]) -> list[Dead]:
    """The hidden irreps among `terms` that are dead in the network of this blueprint.

    :param network: the blueprint.
    :param terms: hidden irreps asked for, in canonical order.
    :returns: by layer, then in the order of `terms`; one that is never produced is not also reported as unread.
    """
    dead, terms = [], tuple(terms)
    for number, (produced, live) in enumerate(network.layers, start=1):
        for term in terms:
            if (term.l, term.p) not in irreps_of(produced):
                dead.append(Dead(number, term, "never produced"))
            elif (term.l, term.p) not in irreps_of(live):
                dead.append(Dead(number, term, "never read"))
    return dead


def describe_dead(dead: Iterable[Dead], depth: int, joined: bool = True) -> str:
    """Describe the dead hidden irreps in one phrase, such as `0o in layer 3 is never read`; empty without any.

    Irreps that are dead in the same layers for the same reason share a clause. The phrase is stored in records.

    :param dead: the result of `dead_irreps`.
    :param depth: number of layers of the network.
    :param joined: whether irreps that are dead in every layer, for one reason or the other, get one clause, as in
        records.
    """
    layers = tuple(range(1, depth + 1))
    where: dict[Irrep, dict[str, tuple[int, ...]]] = {}
    for layer, (_, order, parity), reason in dead:
        of_irrep = where.setdefault((order, parity), {})
        of_irrep[reason] = (*of_irrep.get(reason, ()), layer)
    clauses: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for (order, parity), of_irrep in where.items():
        if joined and len(of_irrep) == 2 and sum(map(len, of_irrep.values())) == len(layers):
            of_irrep = {NOWHERE: layers}
        for why, numbers in of_irrep.items():
            clauses.setdefault((numbers, why), []).append(str(MulIrrep(1, order, parity))[2:])
    return "; ".join(
        f"{'+'.join(irreps)} in {_layers(numbers, layers)} {'is' if len(irreps) == 1 else 'are'} {why}"
        for (numbers, why), irreps in clauses.items()
    )


def _layers(numbers: tuple[int, ...], every: tuple[int, ...]) -> str:
    """Such as `layer 2`, `layers 1 and 3`, `layers 1, 2 and 4`, `every layer`."""
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    if numbers == every:
        return "every layer"
    return f"layers {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
