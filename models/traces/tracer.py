"""Everything that is traced of a model on its probe: features, the loss's gradient by them, weights by what they make.

The same numbers for every orientation of the probe. Nothing of the training changes: every `.grad` is put back, no
state of an optimizer is touched, the model stays in evaluation mode, and generators are as they were.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.data_set import Batch
from tesseral.models.networks.seeding import seeded
from tesseral.models.targets.loss import Loss, partial_losses
from tesseral.models.targets.model import Model
from tesseral.models.traces.features import by_irrep, feature_tensors, keeping_outputs, measure_features
from tesseral.models.traces.layers import find_layers
from tesseral.models.traces.weights import Group, Key, attributed, edge_products, product_groups, squares

_OF_PARAMETERS = ("weight_rms", "gradient_rms", "update")
_OF_EDGES = ("edge_weight_rms", "edge_gradient_rms", "edge_update")


class Measurement(NamedTuple):
    """A row of `tesseral.study.records.schemas.TRACES`, but for trial and time."""

    layer: int | None
    path: str | None
    l: int | None  # noqa: E741 - the column's name
    p: int | None
    statistic: str
    value: float


@dataclass
class _Pass:
    """What one pass over the probe gives. The gradients of the whole loss are zero by what it does not depend on, and
    None by what depends on no parameter, or was computed where none are recorded."""

    gradients: dict[int, Tensor] = field(default_factory=dict)
    """By the parameters: id → gradient."""
    features: dict[int, list[tuple[o3.Irreps, Tensor, Tensor | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Layer → irreps, values and gradient by them, of each batch."""
    edges: dict[Module, list[tuple[Tensor, Tensor | None]]] = field(default_factory=lambda: defaultdict(list))
    """Product → the weights that were passed to it and the gradient by them, of each call."""


class Tracer:
    """Measures a model on a fixed probe.

    :param probe: structures of the training split, in batches no larger than those that are trained on; the loss and
        its gradients are those of all of them together.
    :param strict: as `trace.feature_tensors`.
    """

    def __init__(self, model: Model, loss: Loss, probe: Sequence[Batch], *, strict: bool) -> None:
        self.model, self.loss, self.probe, self.strict = model, loss, probe, strict
        self.device = probe[0].values.device
        with seeded(0, self.device):
            layers = find_layers(model.network, probe[0].graph)
        self.hidden, self.parts = layers.hidden, layers.parts
        self.products = {product: product_groups(product) for part in self.parts for product in edge_products(part)}
        self.attributed = [list(attributed(part)) for part in self.parts]

    def weights(self) -> dict[int, Tensor]:
        """A copy of the model's parameters, for `measure` after the next optimizer step."""
        return {id(weight): weight.detach().clone() for weight in self.model.parameters()}

    def measure(self, before: dict[int, Tensor] | None = None) -> list[Measurement]:
        """In a fixed order: layer by layer, features first, then weights.

        :param before: of `weights`, from before the last optimizer step; without it no update is measured. That step
            alone counts, not all since the last trace: so nothing has to outlive the epoch, or a checkpoint.
        """
        with seeded(0, self.device), torch.enable_grad():
            found = self._run()
        rows: list[Measurement] = []
        for number in range(1, len(self.parts) + 1):
            if number in found.features:
                rows += _of_features(number, found.features[number])
            rows += self._of_weights(number, found, before or {})
        return rows

    def _run(self) -> _Pass:
        found, hidden = _Pass(), self.hidden
        losses = partial_losses(self.model, self.loss, self.probe)
        with _gradients_aside(self.model) as gradients:
            for _ in self.probe:
                with keeping_outputs(hidden) as returned, _keeping_weights(self.products) as passed:
                    loss = next(losses)
                features = feature_tensors(hidden, returned, strict=self.strict)
                for values in [*(values for _, values in features.values()), *(values for _, values in passed)]:
                    if values.requires_grad:
                        values.retain_grad()
                if loss.requires_grad:
                    loss.backward()
                for layer, (irreps, values) in features.items():
                    found.features[layer].append((irreps, values.detach(), _gradient(values)))
                for product, values in passed:
                    found.edges[product].append((values.detach(), _gradient(values)))
            found.gradients = gradients()
        return found

    def _of_weights(self, number: int, found: _Pass, before: dict[int, Tensor]) -> Iterator[Measurement]:
        sums = _Sums()
        for parameter, axis, groups, edges in self.attributed[number - 1]:
            if not edges:
                sums.add(edges, groups, 0, squares(parameter, axis), parameter.numel())
                if id(parameter) in found.gradients:
                    sums.add(edges, groups, 1, squares(found.gradients[id(parameter)], axis), parameter.numel())
            if id(parameter) in before:
                old = before[id(parameter)]
                sums.add(edges, groups, 2, squares(parameter.detach() - old, axis), squares(old, axis))
        for product in edge_products(self.parts[number - 1]):
            for values, gradient in found.edges.get(product, ()):
                sums.add(True, self.products[product], 0, squares(values), values.numel())
                if gradient is not None:
                    sums.add(True, self.products[product], 1, squares(gradient), values.numel())
        return sums.rows(number)


class _Sums:
    """By what weights make: of each statistic, of which the value is √(numerator / denominator), both."""

    def __init__(self) -> None:
        self._of: dict[tuple[bool, Key], np.ndarray] = defaultdict(lambda: np.zeros((3, 2)))

    def add(
        self, edges: bool, groups: Sequence[Group], statistic: int, above: np.ndarray, below: np.ndarray | int
    ) -> None:
        """Add the groups' parts of `above`; of `below` too, or where it is a number, of that many weights in all."""
        each = below if isinstance(below, np.ndarray) else np.full(len(above), below / len(above))
        for key, where in groups:
            part = above[where].sum(), each[where].sum()
            for under in {key, key._replace(path=None)}:
                self._of[edges, under][statistic] += part

    def rows(self, layer: int) -> Iterator[Measurement]:
        """Sorted; where a denominator is zero there is nothing to say."""
        for (edges, key), parts in sorted(
            self._of.items(), key=lambda item: (item[0][0], str(item[0][1].path), *item[0][1][:2])
        ):
            for name, (above, below) in zip(_OF_EDGES if edges else _OF_PARAMETERS, parts.tolist(), strict=True):
                if below > 0:
                    yield Measurement(layer, key.path, key.l, key.p, name, (above / below) ** 0.5)


def _of_features(layer: int, batches: Sequence[tuple[o3.Irreps, Tensor, Tensor | None]]) -> Iterator[Measurement]:
    irreps = batches[0][0]
    values = torch.cat([values.reshape(-1, irreps.dim) for _, values, _ in batches])
    for feature in measure_features(layer, irreps, values):
        for name in ("rms", "share", "effective_rank"):
            yield Measurement(layer, None, feature.l, feature.p, name, getattr(feature, name))
    gradients = [gradient.reshape(-1, irreps.dim) for _, _, gradient in batches if gradient is not None]
    if len(gradients) == len(batches):
        for (order, parity), matrix in by_irrep(irreps, torch.cat(gradients)).items():
            yield Measurement(layer, None, order, parity, "feature_gradient", float(matrix.square().mean()) ** 0.5)


def _gradient(values: Tensor) -> Tensor | None:
    if not values.requires_grad:
        return None
    return torch.zeros_like(values) if values.grad is None else values.grad


@contextmanager
def _gradients_aside(model: Module) -> Iterator[Callable[[], dict[int, Tensor]]]:
    """While open: the gradients added to the parameters' since; then these are what they were before."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    try:
        yield lambda: {id(w): torch.zeros_like(w) if w.grad is None else w.grad for w in weights}
    finally:
        for weight, gradient in zip(weights, before, strict=True):
            weight.grad = gradient


@contextmanager
def _keeping_weights(products: Sequence[Module] | dict[Module, Any]) -> Iterator[list[tuple[Module, Tensor]]]:
    """While open: the products called, in their order, and the weights that were passed to each."""
    passed: list[tuple[Module, Tensor]] = []

    def keep(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        weights = args[2] if len(args) > 2 else kwargs.get("weight", kwargs.get("weights"))
        if isinstance(weights, Tensor) and weights.shape[-1:] == (module.weight_numel,):
            passed.append((module, weights))

    hooks = [product.register_forward_pre_hook(keep, with_kwargs=True) for product in products]
    try:
        yield passed
    finally:
        for hook in hooks:
            hook.remove()
