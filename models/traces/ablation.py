"""Ablation at inference: the error of a trained network when the features of one order l in one layer are taken away.

Nothing is trained again, so this says what the trained network makes use of, not what a network without these features
could learn to do without.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.data_set import Batch
from tesseral.models.data.split import permutation
from tesseral.models.networks.seeding import seeded
from tesseral.models.targets.metrics import measure
from tesseral.models.targets.model import Model
from tesseral.models.traces.features import feature_tensors, keeping_outputs
from tesseral.models.traces.layers import find_layers
from tesseral.models.traces.tracer import Measurement
from tesseral.study.records.schemas import ABLATION_METRICS

STRUCTURES = 16
"""Of the validation split, its first ones: what ablations are measured on at most."""
TOGETHER = 8
"""Structures of a batch, among whose atoms features are exchanged: no more than evaluation takes at once."""


def ablate(
    model: Model, batches: Sequence[Batch], *, seed: int, layers: Sequence[Module] | None = None
) -> list[Measurement]:
    """The error on `batches` as it is, and with the features of each layer and l in turn changed by a forward hook.

    `ablation_zero`: features of order l, of both parities, set to 0. `ablation_shuffle`: each atom is given those of
    another atom of the same element in its batch, by `exchanged`: the same one for every layer and order; so their
    distribution stays, and so does the element, but what they say of the surroundings is lost. To rotate all structures
    changes neither. The error is that of `records.ABLATION_METRICS`.

    :param seed: of the exchange.
    :param layers: the hidden layers, if they are known; else as `find_layers` finds them on the first batch.
    :returns: without layers that return something else than one tensor of their irreps, without exchange where it has
        not a row for each atom; nothing where there are no such layers, for no batches, or if the metric is not defined
        on them.
    """
    found: list[Measurement] = []
    if not batches:
        return found
    with seeded(seed, next(model.parameters()).device):
        if layers is None:
            layers = find_layers(model.network, batches[0].graph).hidden
        with keeping_outputs(layers) as returned:
            intact = _error(model, batches)
        features = feature_tensors(layers, returned, strict=False)
        if intact is None or not features:
            return found
        found.append(Measurement(None, None, None, None, "ablation_none", intact))
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
                            found.append(Measurement(number, None, order, None, statistic, value))
    return found


def exchanged(species: Sequence[int], seed: int) -> list[int]:
    """Of each atom, the position of the atom whose features it is given: one of its element, and another one.

    All atoms of an element stand in one random cycle. One that is alone of its element keeps its own.

    :param species: of each atom of a batch, by any number; across all of the batch's structures.
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
    return next((values[name] for name in ABLATION_METRICS if name in values), None)


@contextmanager
def _exchanging(network: Module, seed: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """While open: features of the atoms of the graph that the network is run on, exchanged."""
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
    """While open: the layer returns the components of one order changed."""
    chosen = torch.tensor([ir.l == order for mul, ir in irreps for _ in range(mul * ir.dim)])

    def hook(module: Module, inputs: Any, values: Tensor) -> Tensor:
        return torch.where(chosen.to(values.device), change(values), values)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
