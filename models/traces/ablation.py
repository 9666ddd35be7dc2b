"""Ablation at inference: the error of a trained network without the features of one order l in one layer.

The network is not trained again. So the result says what the trained network uses, not what a network trained without
these features could achieve.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import Batch
from tesseral.models.data.split import permutation
from tesseral.models.networks.seeding import seeded
from tesseral.models.targets.metrics import measure
from tesseral.models.targets.model import Model
from tesseral.models.traces.features import feature_tensors, keeping_outputs
from tesseral.models.traces.layers import find_layers
from tesseral.models.traces.tracer import Measurement

TOGETHER = 8
"""Structures in a batch, among whose atoms features are exchanged; evaluation takes as many at once."""


def ablate(
    model: Model, batches: Sequence[Batch], *, seed: int, layers: Sequence[Module] | None = None
) -> list[Measurement]:
    """Measure the error on `batches` intact, and with the features of each layer and order l changed in turn.

    Statistics:

    - `ablation_none`: the error of the intact network.
    - `ablation_zero`: the error with the features of order l, of both parities, set to 0.
    - `ablation_shuffle`: the error with each atom given the features of another atom of its element in the batch (see
      `exchanged`; one permutation for every layer and order). This keeps the features' distribution and what they say
      about the element, and destroys what they say about the surroundings.

    All three are invariant under rotations of the structures. The error is the quantity's `ablation_metric`.

    :param model: trained, in evaluation mode.
    :param batches: structures to measure on.
    :param seed: seed of the exchange.
    :param layers: the hidden layers, if known; otherwise `find_layers` finds them on the first batch.
    :returns: one row for each statistic. Layers that return anything but one tensor of their irreps are left out, and
        so is the exchange in layers without one row for each atom. Empty without batches, without such layers, or where
        the metric is undefined.
    """
    measured: list[Measurement] = []
    if not batches:
        return measured
    with seeded(seed, next(model.parameters()).device):
        if layers is None:
            layers = find_layers(model.network, batches[0].graph).hidden
        with keeping_outputs(layers) as returned:
            intact = _error(model, batches)
        features = feature_tensors(layers, returned, strict=False)
        if intact is None or not features:
            return measured
        measured.append(Measurement(None, None, None, None, "ablation_none", intact))
        with _exchanging(model.network, seed) as exchange:
            for number, (irreps, values) in features.items():
                changes: dict[str, Callable[[Tensor], Tensor]] = {"ablation_zero": torch.zeros_like}
                if values.ndim == 2 and len(values) == len(batches[-1].graph.species):
                    changes["ablation_shuffle"] = exchange
                for order in sorted({ir.l for mul, ir in irreps if mul}):
                    for statistic, change in changes.items():
                        with _changed(layers[number - 1], change, irreps, order):
                            value = _error(model, batches)
                        if value is not None:
                            measured.append(Measurement(number, None, order, None, statistic, value))
    return measured


def exchanged(species: Sequence[int], seed: int) -> list[int]:
    """The atom whose features each atom is given: another atom of the same element.

    The atoms of an element form one random cycle, so that each atom is given the features of exactly one other and
    none keeps its own, except an atom that is the only one of its element.

    :param species: element of each atom of a batch, by any numbering; across all structures of the batch.
    :param seed: seed of the cycles.
    :returns: position of the other atom, for each atom.
    """
    others = list(range(len(species)))
    order = permutation(seed, len(species))
    for element in set(species):
        cycle = [atom for atom in order if species[atom] == element]
        for atom, other in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            others[atom] = other
    return others


def _error(model: Model, batches: Sequence[Batch]) -> float | None:
    values = {value.key: value.value for value in measure(model, batches)}
    return values.get(model.target.quantity.ablation_metric)


@contextmanager
def _exchanging(network: Module, seed: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield a function that exchanges features among the atoms of the graph that the network is run on."""
    others: dict[str, Tensor] = {}

    def see(module: Module, inputs: tuple[Any, ...]) -> None:
        species = inputs[0].species
        others["now"] = torch.tensor(exchanged(species.tolist(), seed), device=species.device)

    hook = network.register_forward_pre_hook(see)
    try:
        yield lambda values: values[others["now"]] if len(values) == len(others["now"]) else values
    finally:
        hook.remove()


@contextmanager
def _changed(layer: Module, change: Callable[[Tensor], Tensor], irreps: o3.Irreps, order: int) -> Iterator[None]:
    """Apply `change` to the components of one order in what the layer returns."""
    chosen = torch.tensor([ir.l == order for mul, ir in irreps for _ in range(mul * ir.dim)])

    def hook(module: Module, inputs: Any, values: Tensor) -> Tensor:
        return torch.where(chosen.to(values.device), change(values), values)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
