"""Ablation at inference: the error of a trained network when the features of one order l in one layer are taken away.

Nothing is trained again, so this says what the trained network makes use of, not what a network without these features
could learn to do without.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.data_set import Batch
from tesseral.models.metrics import measure
from tesseral.models.model import Model
from tesseral.models.split import permutation
from tesseral.models.trace import feature_tensors, hidden_layers, keeping_outputs
from tesseral.models.tracing import Measurement
from tesseral.networks.seeding import seeded
from tesseral.study.records import ABLATION_METRICS

STRUCTURES = 16
"""Of the validation split, its first ones: what ablations are measured on at most."""
TOGETHER = 8
"""Structures of a batch, among whose atoms features are permuted: no more than evaluation takes at once."""


def ablate(model: Model, batches: Sequence[Batch], *, seed: int) -> list[Measurement]:
    """The error on `batches` as it is, and with the features of each layer and l in turn changed by a forward hook.

    `ablation_zero`: features of order l, of both parities, set to 0. `ablation_shuffle`: each atom is given those of
    another atom of its batch, the same one for every layer and order; so their distribution stays, and what they say of
    the atom is lost. To rotate all structures changes neither. The error is that of `records.ABLATION_METRICS`.

    :param seed: of the permutations.
    :returns: without layers that return something else than one tensor of their irreps; nothing where there are none
        that do, for no batches, or if the metric is not defined on them.
    """
    layers = hidden_layers(model.network)
    found = []
    with seeded(seed, next(model.parameters()).device):
        with keeping_outputs(layers) as returned:
            intact = _error(model, batches)
        features = feature_tensors(layers, returned, strict=False)
        if intact is None or not features:
            return []
        found.append(Measurement(None, None, None, None, "ablation_none", intact))
        for number, (irreps, _) in features.items():
            for order in sorted({ir.l for mul, ir in irreps if mul}):
                for statistic, change in (("ablation_zero", _zeroed), ("ablation_shuffle", _shuffled(seed))):
                    hook = layers[number - 1].register_forward_hook(_changing(change, irreps, order))
                    try:
                        value = _error(model, batches)
                    finally:
                        hook.remove()
                    if value is not None:
                        found.append(Measurement(number, None, order, None, statistic, value))
    return found


def _error(model: Model, batches: Sequence[Batch]) -> float | None:
    values = {value.key: value.value for value in measure(model, batches)}
    return next((values[name] for name in ABLATION_METRICS if name in values), None)


def _changing(
    change: Callable[[Tensor], Tensor], irreps: o3.Irreps, order: int
) -> Callable[[Module, Any, Tensor], Tensor]:
    """A forward hook that changes the components of one order."""
    chosen = torch.tensor([ir.l == order for mul, ir in irreps for _ in range(mul * ir.dim)])

    def hook(module: Module, inputs: Any, values: Tensor) -> Tensor:
        return torch.where(chosen.to(values.device), change(values), values)

    return hook


def _zeroed(values: Tensor) -> Tensor:
    return torch.zeros_like(values)


def _shuffled(seed: int) -> Callable[[Tensor], Tensor]:
    """Rows permuted in a way that depends on their number and the seed alone."""

    def change(values: Tensor) -> Tensor:
        return values[permutation(seed, len(values))]

    return change
