"""The layers of a network, found in one forward pass: its code needs no change to be traced."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph


class Layers(NamedTuple):
    """The outermost modules of a network that state `irreps_out`: its layers."""

    hidden: list[Module]
    """Hidden layers in the order of their first call."""
    output: Module | None
    """The layer whose output tensor is the network's; the last one called where several return it. None where the
    network computes its output from the last features by other means, such as `torch.nn.Linear` or a sum over atoms."""

    @property
    def parts(self) -> list[Module]:
        """The hidden layers, then the output."""
        return self.hidden if self.output is None else [*self.hidden, self.output]


class _Call(NamedTuple):
    returned: Any
    took_tensors: bool
    """Whether a tensor was among the arguments."""


@torch.no_grad()
def find_layers(network: Module, graph: Graph) -> Layers:
    """Run the network once and observe which of its modules are called.

    Layers are the outermost modules that state `irreps_out` and are called through torch's `__call__`. A single such
    module is a wrapped network, whose own modules count instead, if it returns the network's output or takes no tensor
    (that is, no features). The result depends on the order of calls only, never on values or weights, so it is the same
    for every graph and at every step of training if the network always calls its modules in one order.

    :param network: in evaluation mode if its modes differ.
    :param graph: any graph that the network accepts.
    """
    calls: dict[Module, _Call] = {}

    def keep(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        took_tensors = any(isinstance(value, Tensor) for value in (*args, *kwargs.values()))
        calls[module] = _Call(output, took_tensors)  # a dict keeps a key at the place of its first insertion

    stating = [module for module in network.modules() if module is not network and hasattr(module, "irreps_out")]
    hooks = [module.register_forward_hook(keep, with_kwargs=True) for module in stating]
    try:
        returned = network(graph)
    finally:
        for hook in hooks:
            hook.remove()
    outermost = set(_outermost(network))
    while len(outermost) == 1:
        (part,) = outermost
        call = calls.get(part)
        if call is not None and call.took_tensors and call.returned is not returned:
            break  # a network of one hidden layer, not a wrapped network
        outermost = set(_outermost(part))
    called = [part for part in calls if part in outermost]
    # By identity, since equal values could be chance: the output layer returns the network's very tensor.
    output = next((part for part in reversed(called) if calls[part].returned is returned), None)
    return Layers([part for part in called if part is not output], output)


def _outermost(module: Module) -> Iterator[Module]:
    for child in module.children():
        if hasattr(child, "irreps_out"):
            yield child
        else:
            yield from _outermost(child)
