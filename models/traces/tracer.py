"""The tracer: measures a model's features, weights and gradients on a fixed probe, by layer, irrep and path.

The probe is a small, fixed set of training structures. Every number is invariant under rotations of the probe. Tracing
leaves training untouched: each `.grad` is restored, no optimizer state is read or written, the model stays in
evaluation mode, and the random generators are restored.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import Batch
from tesseral.models.networks.graph import Graph
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.fused.convolution import EdgeWeights
from tesseral.models.networks.seeding import seeded
from tesseral.models.targets.model import Model, partial_losses
from tesseral.models.targets.target import Loss
from tesseral.models.traces.features import by_irrep, feature_tensors, keeping_outputs, measure_features
from tesseral.models.traces.layers import find_layers
from tesseral.models.traces.sums import Sums
from tesseral.models.traces.weights import attributed, edge_products, product_groups, squares

_PARAMETER_STATISTICS = ("weight_rms", "gradient_rms", "update")
"""Statistics of weights that are parameters: RMS, RMS of their gradient, and relative size of the last step."""
_EDGE_STATISTICS = ("edge_weight_rms", "edge_gradient_rms", "edge_update")
"""The same statistics of weights that a radial network computes for each edge."""


class Measurement(NamedTuple):
    """A row of `tesseral.study.records.schemas.TRACES` without trial, step and epoch."""

    layer: int | None
    path: str | None
    l: int | None  # noqa: E741 - the column's name
    p: int | None
    statistic: str
    value: float


@dataclass
class _Pass:
    """Results of one forward and backward pass over the probe.

    A gradient is zero where the loss is independent of the tensor. It is None where the tensor depends on no parameter,
    or was computed with gradients disabled.
    """

    gradients: dict[int, Tensor] = field(default_factory=dict)
    """id of a parameter → gradient of the whole loss."""
    features: dict[int, list[tuple[o3.Irreps, Tensor, Tensor | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Layer → (irreps, features, gradient of the loss by the features), one entry a batch."""
    edges: dict[Module, list[tuple[Tensor, Tensor | None]]] = field(default_factory=lambda: defaultdict(list))
    """Tensor product → (weights passed to it, gradient of the loss by them), one entry a call."""


class Tracer:
    """Measures a model on a fixed probe.

    :param model: network and target.
    :param loss: the training loss.
    :param probe: structures of the training split, in batches no larger than a training batch, because gradients are
        taken here too. The loss and its gradients are those of all batches together.
    :param strict: whether every hidden layer must return one tensor of its irreps; see
        `tesseral.models.traces.features.feature_tensors`.
    """

    def __init__(self, model: Model, loss: Loss[Any, Any], probe: Sequence[Batch], *, strict: bool) -> None:
        self.model, self.loss, self.strict = model, loss, strict
        # Each edge gets weights of its own: where it shared them with its reverse, so would it their gradient.
        self.probe = [replace(batch, graph=_each_edge(batch.graph)) for batch in probe]
        self.device = probe[0].values.device
        with seeded(0, self.device):
            layers = find_layers(model.network, probe[0].graph)
        self.hidden, self.parts = layers.hidden, layers.parts
        self.products = {product: product_groups(product) for part in self.parts for product in edge_products(part)}
        self.attributed = [list(attributed(part)) for part in self.parts]
        self.sums = [Sums(len(_PARAMETER_STATISTICS)) for _ in self.parts]

    def weights(self) -> dict[int, Tensor]:
        """A copy of the model's parameters, for `measure` after the next optimizer step."""
        return {id(weight): weight.detach().clone() for weight in self.model.parameters()}

    def measure(self, before: dict[int, Tensor] | None = None) -> list[Measurement]:
        """Run the probe once and measure it, layer by layer: features first, then weights.

        :param before: result of `weights` before the last optimizer step; without it, no update is measured. The update
            is that of one step, not of all steps since the last trace, so that no state has to outlive the epoch or
            enter a checkpoint.
        """
        with seeded(0, self.device), torch.enable_grad():
            probed = self._run()
        rows: list[Measurement] = []
        for number in range(1, len(self.parts) + 1):
            if number in probed.features:
                rows += _feature_rows(number, probed.features[number])
            rows += self._weight_rows(number, probed, before or {})
        return rows

    def _run(self) -> _Pass:
        probed, hidden = _Pass(), self.hidden
        losses = partial_losses(self.model, self.loss, self.probe)
        with _gradients_aside(self.model) as gradients:
            for _ in self.probe:
                with keeping_outputs(hidden) as returned, _keeping_weights(self.products) as (passed, seen):
                    loss = next(losses)
                features = feature_tensors(hidden, returned, strict=self.strict)
                # Features and edge weights are no leaves of the graph: without this, backward would drop their
                # gradients.
                for values in [*(values for _, values in features.values()), *(values for _, values in passed)]:
                    if values.requires_grad:
                        values.retain_grad()
                if loss.requires_grad:
                    loss.backward()
                for layer, (irreps, values) in features.items():
                    probed.features[layer].append((irreps, values.detach(), _gradient(values)))
                for product, values in passed:
                    probed.edges[product].append((values.detach(), _gradient(values)))
                for product, weights in ((product, each) for product, calls in seen.items() for each in calls):
                    unreached = torch.zeros_like(weights.values) if loss.requires_grad else None
                    gradient = unreached if weights.gradient is None else weights.gradient
                    probed.edges[product].append((weights.values, gradient))
            probed.gradients = gradients()
        return probed

    def _weight_rows(self, number: int, probed: _Pass, before: dict[int, Tensor]) -> Iterator[Measurement]:
        sums = self.sums[number - 1]
        sums.clear()
        for parameter, axis, groups, edges in self.attributed[number - 1]:
            if not edges:
                sums.add(edges, groups, 0, squares(parameter, axis), parameter.numel())
                if id(parameter) in probed.gradients:
                    sums.add(edges, groups, 1, squares(probed.gradients[id(parameter)], axis), parameter.numel())
            if id(parameter) in before:
                old = before[id(parameter)]
                sums.add(edges, groups, 2, squares(parameter.detach() - old, axis), squares(old, axis))
        for product in edge_products(self.parts[number - 1]):
            for values, gradient in probed.edges.get(product, ()):
                sums.add(True, self.products[product], 0, squares(values), values.numel())
                if gradient is not None:
                    sums.add(True, self.products[product], 1, squares(gradient), values.numel())
        for edges, (order, parity, path), parts in sums.rows():
            names = _EDGE_STATISTICS if edges else _PARAMETER_STATISTICS
            for name, (above, below) in zip(names, parts, strict=True):
                if below > 0:  # zero where the statistic was not measured
                    yield Measurement(number, path, order, parity, name, (above / below) ** 0.5)


def _feature_rows(layer: int, batches: Sequence[tuple[o3.Irreps, Tensor, Tensor | None]]) -> Iterator[Measurement]:
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
    """Set the parameters' gradients aside, yield a function that returns those added since, and restore them."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    try:
        yield lambda: {id(w): torch.zeros_like(w) if w.grad is None else w.grad for w in weights}
    finally:
        for weight, gradient in zip(weights, before, strict=True):
            weight.grad = gradient


def _each_edge(graph: Graph) -> Graph:
    """The graph with every edge in `half`, where edges have a reverse; else with none."""
    whole = len(graph.reverse) == len(graph.source)
    return graph._replace(half=torch.arange(len(graph.source) if whole else 0, device=graph.half.device))


@contextmanager
def _keeping_weights(
    products: Iterable[Module],
) -> Iterator[tuple[list[tuple[Module, Tensor]], dict[ChannelProduct, list[EdgeWeights]]]]:
    """Collect, in the order of the calls, each product that is called and the weights that are passed to it; and for
    each product those that a whole convolution, which does not call it, computes."""
    passed: list[tuple[Module, Tensor]] = []
    seen: dict[ChannelProduct, list[EdgeWeights]] = {
        product: [] for product in products if isinstance(product, ChannelProduct)
    }

    def keep(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Products of e3nn and ours are called with features, harmonics and weights, in this order or by name.
        weights = args[2] if len(args) > 2 else kwargs.get("weight", kwargs.get("weights"))
        if isinstance(weights, Tensor) and weights.shape[-1:] == (module.weight_numel,):
            passed.append((module, weights))

    hooks = [product.register_forward_pre_hook(keep, with_kwargs=True) for product in products]
    for product, calls in seen.items():
        product.seen = calls
    try:
        yield passed, seen
    finally:
        for product in seen:
            product.seen = None
        for hook in hooks:
            hook.remove()
