"""What a network can reach, whatever its weights: known before anything is trained, by selection rules alone."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.models.networks.paths.selection_rules import self_product as self_product
from tesseral.models.networks.paths.selection_rules import symmetric_power as symmetric_power
from tesseral.models.networks.sizing.architecture import blueprint, hidden_irreps
from tesseral.models.networks.sizing.blueprint import orders
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.parsing.irreps import MulIrrep


class Dead(NamedTuple):
    """A hidden irrep that was asked for and is of no use in one layer."""

    layer: int
    """From 1 at the input."""
    irrep: MulIrrep
    reason: Literal["made by nothing", "read by nothing"]
    """Nothing feeds it, or no output of the network depends on it."""


def unreachable(configuration: Configuration, layout: tuple[MulIrrep, ...]) -> tuple[MulIrrep, ...]:
    """The irreps of a layout that this network gives as exactly zero, in the layout's order.

    Which irreps of a target that costs is for `Quantity.unreached` to say.
    """
    found, _ = blueprint(configuration, layout, elements=1)  # of more elements it reaches no more
    made = orders(found.outputs)
    return tuple(term for term in layout if (term.l, term.p) not in made)


def dead(configuration: Configuration, layout: Iterable[MulIrrep]) -> list[Dead]:
    """The hidden irreps of no use, layer by layer, in canonical order. What nothing makes is not said to be unread."""
    network, _ = blueprint(configuration, layout, elements=1)
    terms, found = hidden_irreps(configuration), []
    for number, (made, live) in enumerate(network.layers, start=1):
        for term in terms:
            if (term.l, term.p) not in orders(made):
                found.append(Dead(number, term, "made by nothing"))
            elif (term.l, term.p) not in orders(live):
                found.append(Dead(number, term, "read by nothing"))
    return found


def describe_dead(found: Iterable[Dead], depth: int) -> str:
    """One phrase on the hidden irreps of no use, such as `0o in layer 3 is read by nothing`; empty if there are none.

    Irreps that are dead in the same layers for the same reason share a clause.

    :param found: of `dead`.
    :param depth: how many layers the network has.
    """
    layers = tuple(range(1, depth + 1))
    where: dict[Irrep, dict[str, tuple[int, ...]]] = {}
    for layer, (_, order, parity), reason in found:
        of_irrep = where.setdefault((order, parity), {})
        of_irrep[reason] = (*of_irrep.get(reason, ()), layer)
    clauses: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for (order, parity), of_irrep in where.items():
        if len(of_irrep) == 2 and sum(map(len, of_irrep.values())) == len(layers):
            of_irrep = {"made or read by nothing": layers}
        for why, numbers in of_irrep.items():
            clauses.setdefault((numbers, why), []).append(str(MulIrrep(1, order, parity))[2:])
    return "; ".join(
        f"{'+'.join(irreps)} in {_layers(numbers, layers)} {'is' if len(irreps) == 1 else 'are'} {why}"
        for (numbers, why), irreps in clauses.items()
    )


def _layers(numbers: tuple[int, ...], every: tuple[int, ...]) -> str:
    """`layer 2`, `layers 1 and 3`, `layers 1, 2 and 4`, `every layer`."""
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    if numbers == every:
        return "every layer"
    return f"layers {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
