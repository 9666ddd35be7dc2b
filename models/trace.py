"""Feature traces: how large the hidden features of each layer and irrep are, measured by forward hooks."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.graph import Graph


class Feature(NamedTuple):
    """What is measured of one irrep of one layer. Both are the same for every orientation of the input."""

    layer: int
    """From 1 at the input."""
    l: int  # noqa: E741 - the column's name
    p: int
    rms: float
    """√(mean of x² over atoms, copies and components)."""
    share: float
    """Part of the layer's Σx²; 0 where that vanishes."""


def hidden_layers(network: Module) -> list[Module]:
    """The outermost parts of a network that state `irreps_out`, in the order of their registration, but the last.

    The last makes the output. A part that alone states them is a network in a wrapper: its parts count. Any network
    built of such parts can be traced; its code need not know.
    """
    found = list(_outermost(network))
    while len(found) == 1:
        found = list(_outermost(found[0]))
    return found[:-1]


def _outermost(module: Module) -> Iterator[Module]:
    for child in module.children():
        if hasattr(child, "irreps_out"):
            yield child
        else:
            yield from _outermost(child)


@torch.no_grad()
def trace_features(network: Module, graph: Graph, *, strict: bool = True) -> list[Feature]:
    """Run the network on a graph and measure what its hidden layers return.

    :param strict: otherwise a layer that returns something else than one tensor of its irreps is left out.
    :raises TypeError: if a layer does so, and `strict`.
    """
    layers = hidden_layers(network)
    returned: dict[int, Tensor] = {}
    hooks = []
    for number, layer in enumerate(layers, start=1):

        def keep(module: Module, inputs: object, output: Tensor, number: int = number) -> None:
            returned[number] = output

        hooks.append(layer.register_forward_hook(keep))
    try:
        network(graph)
    finally:
        for hook in hooks:
            hook.remove()
    features = []
    for number, layer in enumerate(layers, start=1):
        if number in returned:
            stated, values = layer.irreps_out, returned[number]
            irreps = _fitting(stated, values)
            if irreps is not None:
                features += _measure(number, irreps, values)
            elif strict:
                raise TypeError(
                    f"expected layer {number} to return a tensor of its irreps_out {stated}, got {type(values)}"
                )
    return features


def _fitting(stated: Any, values: Any) -> o3.Irreps | None:
    """The stated irreps, if they are irreps and the values are a tensor of them."""
    try:
        irreps = o3.Irreps(stated)
    except (TypeError, ValueError):
        return None
    fits = isinstance(values, Tensor) and values.is_floating_point() and values.shape[-1:] == (irreps.dim,)
    return irreps if fits else None


def _measure(layer: int, irreps: o3.Irreps, values: Tensor) -> list[Feature]:
    squares: dict[tuple[int, int], float] = defaultdict(float)
    numbers: dict[tuple[int, int], int] = defaultdict(int)
    for (_, ir), part in zip(irreps, irreps.slices(), strict=True):
        squares[ir.l, ir.p] += float(values[..., part].double().square().sum())
        numbers[ir.l, ir.p] += values[..., part].numel()
    total = sum(squares.values())
    return [
        Feature(layer, *key, (square / numbers[key]) ** 0.5 if square else 0.0, square / total if total else 0.0)
        for key, square in squares.items()
    ]
