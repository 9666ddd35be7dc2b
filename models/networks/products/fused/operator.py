"""The fused operator as torch sees it: three custom operators, each with the others as its derivatives.

`kernels.py` states the form that all three are partial derivatives of. So a first derivative, as training takes, and a
second, as training on forces takes, need no code of their own.
"""

import ctypes
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tesseral.models.compiled.library import open_library
from tesseral.models.networks.products.fused.coupling import pattern
from tesseral.models.networks.products.fused.kernels import Kernel, lanes, shares, source


class Plan(NamedTuple):
    """What one product couples, read from the text that its operators are given."""

    terms: tuple[tuple[int, int], ...]
    """2l+1 and channels of each input."""
    blocks: tuple[tuple[int, int], ...]
    """2l+1 and channels of each output."""
    paths: tuple[tuple[Kernel, tuple[int, ...]], ...]
    """Of each path the kernel, and the numbers of `Path` in the C++ behind its map."""
    couplings: int
    """Numbers that an edge's couplings take."""


class Operator(NamedTuple):
    """One of the three maps of a plan, ready to be called."""

    run: Any
    paths: Any
    """The array of `Path` in the C++."""
    number: int
    """Paths."""
    terms: int


@lru_cache(maxsize=4096)
def read_plan(text: str) -> Plan:
    """Read a plan.

    :param text: JSON with `terms`, `blocks` and `paths`, each path l₁, l₂, l, term, block, first channel in the block,
        channels, and first weight.
    """
    told = json.loads(text)
    triples = sorted({tuple(path[:3]) for path in told["paths"]})
    starts, total = {}, 0
    for triple in triples:
        starts[triple] = total
        total += len(pattern(triple))
    paths = []
    for l1, l2, l3, term, block, column, channels, weight in told["paths"]:
        triple, width = (l1, l2, l3), told["blocks"][block][1]
        numbers = (term, block, column, channels, width, weight, starts[triple])
        paths.append((Kernel(triple, lanes(channels)), numbers))
    terms, blocks = (tuple(map(tuple, told[key])) for key in ("terms", "blocks"))
    return Plan(terms, blocks, tuple(paths), total)


@lru_cache(maxsize=4096)
def open_operator(of: str, plan: str, real: str) -> Operator:
    """One of the three maps, compiled if it was not before.

    :param of: `couple`, `pull` or `steer`.
    :param plan: as `read_plan` reads it.
    :param real: `float32` or `float64`.
    :raises NoLibraryError: if it cannot be built.
    """
    known, numbers = read_plan(plan), []
    for kernel, rest in known.paths:
        mapping = getattr(open_library(source(kernel, real)), of)
        numbers += [ctypes.cast(mapping, ctypes.c_void_p).value or 0, *rest]
    run = open_library(shares(real)).run
    run.restype = None
    return Operator(run, (ctypes.c_int64 * len(numbers))(*numbers), len(known.paths), len(known.terms))


@torch.library.custom_op("tesseral::couple", mutates_args=(), device_types="cpu")
def couple(
    features: list[Tensor],
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
    blocks = _blocks(features, plan)
    _run("couple", plan, (source, destination, reverse), features, couplings, weights, blocks)
    return blocks


@torch.library.custom_op("tesseral::pull", mutates_args=(), device_types="cpu")
def pull(
    features: list[Tensor],
    couplings: Tensor,
    weights: Tensor,
    gradients: list[Tensor],
    source: Tensor,
    destination: Tensor,
    reverse: Tensor,
    plan: str,
) -> list[Tensor]:
    """The derivatives of F by the features, one for each, and by the weights, the last.

    :param gradients: g, like the blocks of `couple`.
    """
    made = [torch.zeros_like(part, memory_format=torch.contiguous_format) for part in (*features, weights)]
    _run("pull", plan, (source, destination, reverse), features, couplings, weights, gradients, made)
    return made


@torch.library.custom_op("tesseral::steer", mutates_args=(), device_types="cpu")
def steer(
    features: list[Tensor],
    weights: Tensor,
    gradients: list[Tensor],
    source: Tensor,
    destination: Tensor,
    reverse: Tensor,
    plan: str,
) -> Tensor:
    """The derivative of F by the couplings, (edges, couplings).

    :param gradients: g, like the blocks of `couple`.
    """
    made = weights.new_zeros(len(source), read_plan(plan).couplings)
    _run("steer", plan, (source, destination, reverse), features, made, weights, gradients)
    return made


def _run(
    of: str,
    plan: str,
    edges: tuple[Tensor, Tensor, Tensor],
    features: Sequence[Tensor],
    couplings: Tensor,
    weights: Tensor,
    blocks: Sequence[Tensor],
    made: Sequence[Tensor] = (),
) -> None:
    """Call the C++.

    :param couplings: read, and by `steer` added to.
    :param made: what `pull` adds to.
    """
    operator = open_operator(of, plan, str(weights.dtype).removeprefix("torch."))
    # Kept in a list until the call returns: an address alone keeps no copy alive.
    kept = [part.contiguous() for part in (*edges, couplings, weights, *features, *blocks)]
    addresses = [part.data_ptr() for part in kept]
    x = _pointers(addresses[5 : 5 + len(features)])
    g = _pointers(addresses[5 + len(features) :])
    dx = _pointers([part.data_ptr() for part in made])
    call = (ctypes.c_int64 * 16)(
        len(features[0]),
        len(edges[0]),
        *addresses[:3],
        0,
        0,
        ctypes.addressof(x),
        ctypes.addressof(g),
        addresses[3],
        addresses[4],
        couplings.shape[1],
        weights.shape[1],
        ctypes.addressof(dx),
        made[-1].data_ptr() if made else 0,
        addresses[3] if of == "steer" else 0,
    )
    arguments = operator.number, operator.terms, torch.get_num_threads(), len(weights)
    operator.run(operator.paths, *map(ctypes.c_int64, arguments), call)


def _pointers(addresses: Sequence[int]) -> Any:
    return (ctypes.c_int64 * max(1, len(addresses)))(*addresses)


def _blocks(features: Sequence[Tensor], plan: str) -> list[Tensor]:
    return [features[0].new_empty(len(features[0]), *shape) for shape in read_plan(plan).blocks]


@couple.register_fake
def _(features: list[Tensor], *others: Any) -> list[Tensor]:
    return _blocks(features, others[-1])


@pull.register_fake
def _(features: list[Tensor], couplings: Tensor, weights: Tensor, *others: Any) -> list[Tensor]:
    return [torch.empty_like(part) for part in (*features, weights)]


@steer.register_fake
def _(features: list[Tensor], weights: Tensor, gradients: list[Tensor], source: Tensor, *others: Any) -> Tensor:
    return weights.new_empty(len(source), read_plan(others[-1]).couplings)


def _keep_couple(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    features, couplings, weights, *edges, ctx.plan = inputs
    ctx.save_for_backward(*features, couplings, weights, *edges)


def _couple_backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    *features, couplings, weights, source, destination, reverse = ctx.saved_tensors
    edges = source, destination, reverse, ctx.plan
    *of_features, of_weights = pull(features, couplings, weights, gradients, *edges)
    of_couplings = steer(features, weights, gradients, *edges) if ctx.needs_input_grad[1] else None
    return of_features, of_couplings, of_weights, None, None, None, None


def _keep_pull(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    features, couplings, weights, gradients, *edges, ctx.plan = inputs
    ctx.terms = len(features)
    ctx.save_for_backward(*features, *gradients, couplings, weights, *edges)


def _pull_backward(ctx: Any, changes: list[Tensor]) -> tuple[Any, ...]:
    """Of F(δx, k, w, g) + F(x, k, δw, g), for the changes δx and δw."""
    *parts, couplings, weights, source, destination, reverse = ctx.saved_tensors
    features, gradients = parts[: ctx.terms], parts[ctx.terms :]
    edges = source, destination, reverse, ctx.plan
    *of_features, by_weights = changes
    # The derivative by x takes δw alone, that by w takes δx alone: one call for both.
    *by_features, of_weights = pull(of_features, couplings, by_weights, gradients, *edges)
    of_couplings = None
    if ctx.needs_input_grad[1]:
        one, other = steer(of_features, weights, gradients, *edges), steer(features, by_weights, gradients, *edges)
        of_couplings = one + other
    ones = couple(of_features, couplings, weights, *edges)
    others = couple(features, couplings, by_weights, *edges)
    of_gradients = [one + other for one, other in zip(ones, others, strict=True)]
    return by_features, of_couplings, of_weights, of_gradients, None, None, None, None


def _keep_steer(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weights, gradients, *edges, ctx.plan = inputs
    ctx.terms = len(features)
    ctx.save_for_backward(*features, *gradients, weights, *edges)


def _steer_backward(ctx: Any, change: Tensor) -> tuple[Any, ...]:
    """Of F(x, δk, w, g), for the change δk."""
    *parts, weights, source, destination, reverse = ctx.saved_tensors
    features, gradients = parts[: ctx.terms], parts[ctx.terms :]
    edges = source, destination, reverse, ctx.plan
    *of_features, of_weights = pull(features, change, weights, gradients, *edges)
    return of_features, of_weights, couple(features, change, weights, *edges), None, None, None, None


torch.library.register_autograd("tesseral::couple", _couple_backward, setup_context=_keep_couple)
torch.library.register_autograd("tesseral::pull", _pull_backward, setup_context=_keep_pull)
torch.library.register_autograd("tesseral::steer", _steer_backward, setup_context=_keep_steer)
