"""Which parts of a network are its layers: seen in one forward pass, so that its code need not know."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph


class Layers(NamedTuple):
    """The outermost parts of a network that state `irreps_out`."""

    hidden: list[Module]
    """In the order of their first call."""
    output: Module | None
    """The part that returns the very tensor that the network returns; of several, the one called last. None where
    something else makes it of the last features, such as a `torch.nn.Linear` or a sum over atoms."""

    @property
    def parts(self) -> list[Module]:
        """The hidden layers, then the output."""
        return self.hidden if self.output is None else [*self.hidden, self.output]


class _Call(NamedTuple):
    returned: Any
    of_tensors: bool
    """Whether a tensor was among its arguments."""


@torch.no_grad()
def find_layers(network: Module, graph: Graph) -> Layers:
    """Run the network once and see which of its parts are called.

    A part that alone states `irreps_out` is a network in a wrapper, whose parts count, if it returns what the network
    returns, or is given no features, that is no tensor. A part that is not called, or called by another way than
    torch's `__call__`, is no layer. Values do not count, so neither do weights: of a network that calls its parts in
    one order always, the layers are the same for every graph and at every time.

    :param network: in evaluation mode, if its modes differ.
    """
    calls: dict[Module, _Call] = {}

    def keep(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        of_tensors = any(isinstance(value, Tensor) for value in (*args, *kwargs.values()))
        calls[module] = _Call(output, of_tensors)  # the place of a key in a dict is that of its first call

    stating = [module for module in network.modules() if module is not network and hasattr(module, "irreps_out")]
    hooks = [module.register_forward_hook(keep, with_kwargs=True) for module in stating]
    try:
        returned = network(graph)
    finally:
        for hook in hooks:
            hook.remove()
    found = set(_outermost(network))
    while len(found) == 1:
        (part,) = found
        call = calls.get(part)
        if call is not None and call.of_tensors and call.returned is not returned:
            break
        found = set(_outermost(part))
    called = [part for part in calls if part in found]
    output = next((part for part in reversed(called) if calls[part].returned is returned), None)
    return Layers([part for part in called if part is not output], output)


def _outermost(module: Module) -> Iterator[Module]:
    for child in module.children():
        if hasattr(child, "irreps_out"):
            yield child
        else:
            yield from _outermost(child)
