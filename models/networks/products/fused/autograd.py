"""The fused operator as torch sees it: three maps, each with the others as its derivatives.

So a first derivative, as training takes, and a second, as training on forces takes, need no code of their own. torch's
compiler sees them as custom operators. Elsewhere they are functions of autograd: a custom operator spends some 0.1 ms a
call on what only the compiler needs, which is longer than a small network computes.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tesseral.models.networks.products.fused.operator import empty_blocks, read_plan, run


def couple(
    features: Sequence[Tensor],
    couplings: Tensor,
    weights: Tensor,
    source: Tensor,
    destination: Tensor,
    reverse: Tensor,
    plan: str,
) -> list[Tensor]:
    """Σ over the edges of each atom of weights times couplings times features, the derivative of F by g.

    :param features: for each term of the plan, (atoms, 2l+1, channels).
    :param couplings: (edges, couplings), harmonics @ `coupling.entries`.
    :param weights: (edges, weights), or (edges/2, weights) where an edge and its reverse share them.
    :param source: (edges,) int64.
    :param destination: (edges,) int64, ascending.
    :param reverse: (edges,) int64, the edge that leads back.
    :param plan: as `read_plan` reads it.
    :returns: for each block of the plan, (atoms, 2l+1, channels).
    """
    # Addresses are given to the C++: of tensors that have none, or on a device, the operators know what to do or say.
    plain = type(couplings) is Tensor and couplings.device.type == "cpu" and not torch.compiler.is_compiling()
    maps = _FUNCTIONS if plain else _OPERATORS
    return maps.couple(list(features), couplings, weights, source, destination, reverse, plan)


class _Maps(NamedTuple):
    """The derivatives of F by g, by features and weights, and by couplings; each differentiable by the others."""

    couple: Callable[..., list[Tensor]]
    pull: Callable[..., list[Tensor]]
    steer: Callable[..., Tensor]


def _coupled(features: Sequence[Tensor], couplings: Tensor, weights: Tensor, *edges: Any) -> list[Tensor]:
    *ends, plan = edges
    blocks = empty_blocks(features, plan)
    run("couple", plan, ends, features, couplings, weights, blocks)
    return blocks


def _pulled(
    features: Sequence[Tensor], couplings: Tensor, weights: Tensor, gradients: Sequence[Tensor], *edges: Any
) -> list[Tensor]:
    *ends, plan = edges
    made = [torch.zeros_like(part, memory_format=torch.contiguous_format) for part in (*features, weights)]
    run("pull", plan, ends, features, couplings, weights, gradients, made)
    return made


def _steered(features: Sequence[Tensor], weights: Tensor, gradients: Sequence[Tensor], *edges: Any) -> Tensor:
    *ends, plan = edges
    made = weights.new_zeros(ends[0].shape[0], read_plan(plan).couplings)
    run("steer", plan, ends, features, made, weights, gradients)
    return made


def _by_couple(
    maps: _Maps, couplings: Tensor, weights: Tensor, features: Any, gradients: Any, edges: Any, *, steered: bool
) -> tuple[list[Tensor], Tensor | None, Tensor]:
    """The derivatives of `couple` by features, couplings (if asked for) and weights."""
    *of_features, of_weights = maps.pull(features, couplings, weights, gradients, *edges)
    return of_features, maps.steer(features, weights, gradients, *edges) if steered else None, of_weights


def _by_pull(
    maps: _Maps, couplings: Tensor, weights: Tensor, features: Any, gradients: Any, changes: Any, edges: Any,
    *, steered: bool,
) -> tuple[list[Tensor], Tensor | None, Tensor, list[Tensor]]:  # fmt: skip
    """Those of F(δx, k, w, g) + F(x, k, δw, g), for the changes δx and δw: by x, k (if asked for), w and g."""
    *of_features, by_weights = changes
    # The derivative by x takes δw alone, that by w takes δx alone: one call for both.
    *by_features, of_weights = maps.pull(of_features, couplings, by_weights, gradients, *edges)
    of_couplings = None
    if steered:
        of_couplings = maps.steer(of_features, weights, gradients, *edges)
        of_couplings = of_couplings + maps.steer(features, by_weights, gradients, *edges)
    ones = maps.couple(of_features, couplings, weights, *edges)
    others = maps.couple(features, couplings, by_weights, *edges)
    return by_features, of_couplings, of_weights, [one + other for one, other in zip(ones, others, strict=True)]


def _by_steer(
    maps: _Maps, weights: Tensor, features: Any, gradients: Any, change: Tensor, edges: Any
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Those of F(x, δk, w, g), for the change δk: by x, w and g."""
    *of_features, of_weights = maps.pull(features, change, weights, gradients, *edges)
    return of_features, of_weights, maps.couple(features, change, weights, *edges)


class _Couple(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, edges: tuple[Tensor, ...], plan: str, couplings: Tensor, weights: Tensor, *features: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.edges = *edges, plan
        ctx.save_for_backward(couplings, weights, *features)
        return tuple(_coupled(features, couplings, weights, *ctx.edges))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        couplings, weights, *features = ctx.saved_tensors
        of_features, of_couplings, of_weights = _by_couple(
            _FUNCTIONS, couplings, weights, features, gradients, ctx.edges, steered=ctx.needs_input_grad[2]
        )
        return None, None, of_couplings, of_weights, *of_features


class _Pull(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        edges: tuple[Tensor, ...],
        plan: str,
        terms: int,
        couplings: Tensor,
        weights: Tensor,
        *parts: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.edges, ctx.terms = (*edges, plan), terms
        ctx.save_for_backward(couplings, weights, *parts)
        return tuple(_pulled(parts[:terms], couplings, weights, parts[terms:], *ctx.edges))

    @staticmethod
    def backward(ctx: Any, *changes: Tensor) -> tuple[Tensor | None, ...]:
        couplings, weights, *parts = ctx.saved_tensors
        features, gradients = parts[: ctx.terms], parts[ctx.terms :]
        of_features, of_couplings, of_weights, of_gradients = _by_pull(
            _FUNCTIONS, couplings, weights, features, gradients, changes, ctx.edges, steered=ctx.needs_input_grad[3]
        )
        return None, None, None, of_couplings, of_weights, *of_features, *of_gradients


class _Steer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: tuple[Tensor, ...], plan: str, terms: int, weights: Tensor, *parts: Tensor) -> Tensor:
        ctx.edges, ctx.terms = (*edges, plan), terms
        ctx.save_for_backward(weights, *parts)
        return _steered(parts[:terms], weights, parts[terms:], *ctx.edges)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        weights, *parts = ctx.saved_tensors
        features, gradients = parts[: ctx.terms], parts[ctx.terms :]
        of_features, of_weights, of_gradients = _by_steer(_FUNCTIONS, weights, features, gradients, change, ctx.edges)
        return None, None, None, of_weights, *of_features, *of_gradients


def _couple(features: Sequence[Tensor], couplings: Tensor, weights: Tensor, *edges: Any) -> list[Tensor]:
    return list(_Couple.apply(edges[:3], edges[3], couplings, weights, *features))


def _pull(
    features: Sequence[Tensor], couplings: Tensor, weights: Tensor, gradients: Sequence[Tensor], *edges: Any
) -> list[Tensor]:
    return list(_Pull.apply(edges[:3], edges[3], len(features), couplings, weights, *features, *gradients))


def _steer(features: Sequence[Tensor], weights: Tensor, gradients: Sequence[Tensor], *edges: Any) -> Tensor:
    made: Tensor = _Steer.apply(edges[:3], edges[3], len(features), weights, *features, *gradients)
    return made


_FUNCTIONS = _Maps(_couple, _pull, _steer)


@torch.library.custom_op("tesseral::couple", mutates_args=(), device_types="cpu")
def _couple_operator(
    features: list[Tensor],
    couplings: Tensor,
    weights: Tensor,
    source: Tensor,
    destination: Tensor,
    reverse: Tensor,
    plan: str,
) -> list[Tensor]:
    return _coupled(features, couplings, weights, source, destination, reverse, plan)


@torch.library.custom_op("tesseral::pull", mutates_args=(), device_types="cpu")
def _pull_operator(
    features: list[Tensor],
    couplings: Tensor,
    weights: Tensor,
    gradients: list[Tensor],
    source: Tensor,
    destination: Tensor,
    reverse: Tensor,
    plan: str,
) -> list[Tensor]:
    return _pulled(features, couplings, weights, gradients, source, destination, reverse, plan)


@torch.library.custom_op("tesseral::steer", mutates_args=(), device_types="cpu")
def _steer_operator(
    features: list[Tensor],
    weights: Tensor,
    gradients: list[Tensor],
    source: Tensor,
    destination: Tensor,
    reverse: Tensor,
    plan: str,
) -> Tensor:
    return _steered(features, weights, gradients, source, destination, reverse, plan)


@_couple_operator.register_fake
def _(features: list[Tensor], *others: Any) -> list[Tensor]:
    return empty_blocks(features, others[-1])


@_pull_operator.register_fake
def _(features: list[Tensor], couplings: Tensor, weights: Tensor, *others: Any) -> list[Tensor]:
    return [torch.empty_like(part) for part in (*features, weights)]


@_steer_operator.register_fake
def _(features: list[Tensor], weights: Tensor, gradients: list[Tensor], source: Tensor, *others: Any) -> Tensor:
    return weights.new_empty(len(source), read_plan(others[-1]).couplings)


_OPERATORS = _Maps(_couple_operator, _pull_operator, _steer_operator)


def _keep_couple(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    features, couplings, weights, *edges, ctx.plan = inputs
    ctx.save_for_backward(*features, couplings, weights, *edges)


def _couple_backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    *features, couplings, weights, source, destination, reverse = ctx.saved_tensors
    edges = source, destination, reverse, ctx.plan
    steered = ctx.needs_input_grad[1]
    by = _by_couple(_OPERATORS, couplings, weights, features, gradients, edges, steered=steered)
    return *by, None, None, None, None


def _keep_pull(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    features, couplings, weights, gradients, *edges, ctx.plan = inputs
    ctx.terms = len(features)
    ctx.save_for_backward(*features, *gradients, couplings, weights, *edges)


def _pull_backward(ctx: Any, changes: list[Tensor]) -> tuple[Any, ...]:
    *parts, couplings, weights, source, destination, reverse = ctx.saved_tensors
    features, gradients = parts[: ctx.terms], parts[ctx.terms :]
    edges = source, destination, reverse, ctx.plan
    steered = ctx.needs_input_grad[1]
    by = _by_pull(_OPERATORS, couplings, weights, features, gradients, changes, edges, steered=steered)
    return *by, None, None, None, None


def _keep_steer(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weights, gradients, *edges, ctx.plan = inputs
    ctx.terms = len(features)
    ctx.save_for_backward(*features, *gradients, weights, *edges)


def _steer_backward(ctx: Any, change: Tensor) -> tuple[Any, ...]:
    *parts, weights, source, destination, reverse = ctx.saved_tensors
    features, gradients = parts[: ctx.terms], parts[ctx.terms :]
    by = _by_steer(_OPERATORS, weights, features, gradients, change, (source, destination, reverse, ctx.plan))
    return *by, None, None, None, None


torch.library.register_autograd("tesseral::couple", _couple_backward, setup_context=_keep_couple)
torch.library.register_autograd("tesseral::pull", _pull_backward, setup_context=_keep_pull)
torch.library.register_autograd("tesseral::steer", _steer_backward, setup_context=_keep_steer)
