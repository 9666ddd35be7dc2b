"""A whole convolution as one operation of torch's autograd, for training on fixed geometry.

It has a first derivative by features and weights, and none by harmonics and radial values: what learns forces, and
what is compiled or exported, takes the operations one by one instead, of which this is the sum.
"""

import ctypes
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tesseral.models.compiled.blas import matrix_product
from tesseral.models.compiled.library import open_library
from tesseral.models.networks.products.fused.convolution_program import convolution_source
from tesseral.models.networks.products.fused.linear import LinearPath
from tesseral.models.networks.products.fused.operator import open_operator, read_plan


class ConvolutionPlan(NamedTuple):
    """What a convolution computes; its text is what `convolve` is given."""

    product: str
    """The plan of its product, see `operator.read_plan`."""
    terms: list[tuple[int, int]]
    """2l+1 and channels of each irrep of the features."""
    outs: list[tuple[int, int]]
    """The same of the result, before the gate."""
    before: list[LinearPath]
    """The linear map of the features that are sent."""
    after: list[LinearPath]
    """The linear map of the sums."""
    own: list[LinearPath]
    """The self-connection, whose weights are (rows, elements, columns); empty without one."""
    elements: int
    """Number of elements."""
    radial: list[int]
    """Sizes of the radial network."""
    harmonics: int
    """(lmax+1)²."""
    factors: tuple[float, float, float]
    """By which silu, tanh and sigmoid have a second moment of 1."""
    gate: list[tuple[int, int]] | None = None
    """2l+1 and channels of each irrep that a gate multiplies; None without a gate."""
    scalars: tuple[int, int, int] = (0, 0, 0)
    """Even scalars, gating scalars and odd scalars that enter the gate, in this order."""
    knots: int = 0
    """At which the radial network is computed, see `layers.radial_table`; 0 where it is computed for each edge."""
    cutoff: float = 0.0
    """Å."""

    def text(self) -> str:
        """The plan as JSON."""
        return json.dumps(self)


class Edges(NamedTuple):
    """The geometry that a convolution needs, as in `tesseral.models.networks.graph.Graph`."""

    source: Tensor
    destination: Tensor
    reverse: Tensor
    half: Tensor
    harmonics: Tensor
    radial: Tensor


@dataclass
class EdgeWeights:
    """The weights that one call of a convolution gave its edges, to be looked at."""

    values: Tensor
    """(rows, weights): a row for each edge of `half`."""
    gradient: Tensor | None = None
    """Of what the backward pass began with; None before it."""


CACHED = 2_000_000
"""Bytes of the edges' weights after which a part of a batch ends, where the next structure begins. A core's cache holds
them and what comes of them."""
_INTEGER, _REAL, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class _Plan(ctypes.Structure):
    """`Plan` of the C++."""

    _fields_ = [
        ("gemm", _POINTER),
        *((name, _INTEGER) for name in ("terms", "blocks", "outs")),
        *((name, _POINTER) for name in ("term", "block", "out")),
        *((name, _INTEGER) for name in ("befores", "afters", "owns")),
        *((name, _POINTER) for name in ("before", "after", "own")),
        ("elements", _INTEGER),
        ("layers", _INTEGER),
        ("sizes", _POINTER),
        *((name, _INTEGER) for name in ("harmonics", "couplings", "paths")),
        *((name, _POINTER) for name in ("couple", "pull")),
        ("gated", _INTEGER),
        ("gate", _POINTER),
        *((name, _INTEGER) for name in ("even", "gates", "odd")),
        *((name, _REAL) for name in ("silu", "tanh", "sigmoid")),
        ("knots", _INTEGER),
        ("cutoff", _REAL),
    ]


class _Linear(ctypes.Structure):
    """`Linear` of the C++."""

    _fields_ = [*((name, _INTEGER) for name in ("start", "end", "rows", "columns", "weight")), ("scale", _REAL)]


class _Pass(ctypes.Structure):
    """`Pass` of the C++."""

    _fields_ = [
        *((name, _INTEGER) for name in ("atoms", "edges", "rows", "threads", "most")),
        *((name, _POINTER) for name in ("source", "destination", "reverse", "half", "species")),
        *((name, _POINTER) for name in ("harmonics", "radial", "entries", "knots", "x", "before", "after", "own")),
        ("network", _POINTER),
        ("scale", _REAL),
        *((name, _POINTER) for name in ("kept", "y", "dy", "spare", "dx", "dbefore", "dafter", "down")),
        ("dnetwork", _POINTER),
    ]


class _Convolution(NamedTuple):
    """A plan, ready to be run."""

    plan: _Plan
    library: ctypes.CDLL
    width: int
    """Components of the result."""
    most: int
    """Rows of weights after which a part of the atoms ends where it can; 0: all are computed at once."""
    alive: tuple[Any, ...]
    """What the plan points at."""


@lru_cache(maxsize=4096)
def open_convolution(text: str, real: str) -> _Convolution:
    """A convolution, compiled if it was not before.

    :param text: of a `ConvolutionPlan`.
    :param real: `float32` or `float64`.
    :raises NoLibraryError: if it cannot be built.
    """
    told = ConvolutionPlan(*json.loads(text))
    library = open_library(convolution_source(real))
    for name in ("kept_size", "spare_size", "kept_weights", "spare_weights"):
        getattr(library, name).restype = _INTEGER
    library.convolve.restype = library.convolve_back.restype = None
    product = read_plan(told.product)
    couple, pull = (open_operator(of, told.product, real) for of in ("couple", "pull"))
    arrays = {
        "term": _integers(told.terms),
        "block": _integers(product.blocks),
        "out": _integers(told.outs),
        "gate": _integers(told.gate or []),
        **{
            name: (_Linear * len(of))(*(_Linear(*path) for path in of))
            for name, of in zip(("before", "after", "own"), (told.before, told.after, told.own), strict=True)
        },
        "sizes": (_INTEGER * len(told.radial))(*told.radial),
        "couple": couple.paths,
        "pull": pull.paths,
    }
    plan = _Plan(
        gemm=matrix_product(real),
        terms=len(told.terms),
        blocks=len(product.blocks),
        outs=len(told.outs),
        befores=len(told.before),
        afters=len(told.after),
        owns=len(told.own),
        elements=told.elements,
        layers=len(told.radial) - 1,
        harmonics=told.harmonics,
        couplings=product.couplings,
        paths=couple.number,
        gated=-1 if told.gate is None else len(told.gate),
        knots=told.knots,
        cutoff=told.cutoff,
        **dict(zip(("even", "gates", "odd"), told.scalars, strict=True)),
        **dict(zip(("silu", "tanh", "sigmoid"), told.factors, strict=True)),
        **{name: ctypes.addressof(array) for name, array in arrays.items()},
    )
    width = sum(dim * channels for dim, channels in told.outs) - told.scalars[1]
    # A table of the radial network would be computed again for each part.
    most = 0 if told.knots else max(1, CACHED // (told.radial[-1] * getattr(torch, real).itemsize))
    return _Convolution(plan, library, width, most, tuple(arrays.values()))


def convolve(
    text: str,
    features: Tensor,
    species: Tensor,
    edges: Edges,
    fixed: tuple[Tensor, Tensor],
    scale: float,
    weights: Sequence[Tensor],
    seen: list[EdgeWeights] | None = None,
) -> Tensor:
    """Convolve features, and gate the result if the plan has a gate.

    :param text: of a `ConvolutionPlan`.
    :param features: (atoms, components), in e3nn's layout.
    :param species: (atoms,) int64, the element of each.
    :param edges: geometry without gradient, each edge with its reverse.
    :param fixed: the entries of `coupling.entries`, and φ at the knots, (knots, functions), empty without knots.
    :param scale: factor of the messages.
    :param weights: of the map before, the map after, the self-connection (empty without one), and the matrices of the
        radial network.
    :param seen: takes the weights of the edges, where someone looks at them.
    :returns: (atoms, components of the result).
    """
    result: Tensor = _Convolve.apply(text, features, species, edges, fixed, scale, seen, *weights)
    return result


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        text: str,
        features: Tensor,
        species: Tensor,
        edges: Edges,
        constant: tuple[Tensor, Tensor],
        scale: float,
        seen: list[EdgeWeights] | None,
        *weights: Tensor,
    ) -> Tensor:
        operation = open_convolution(text, str(features.dtype).removeprefix("torch."))
        fixed = [part.contiguous() for part in (*edges, species, *constant)]
        learned = [part.contiguous() for part in (features, *weights)]
        call = _call(fixed, learned, scale, operation.most if seen is None else 0)
        of, to = ctypes.byref(operation.plan), ctypes.byref(call)
        kept = features.new_empty(operation.library.kept_size(of, to))
        spare = features.new_empty(operation.library.spare_size(of, to))
        result = features.new_empty(len(features), operation.width)
        call.kept, call.spare, call.y = kept.data_ptr(), spare.data_ptr(), result.data_ptr()
        operation.library.convolve(of, to)
        ctx.text, ctx.scale, ctx.seen = text, scale, None
        if seen is not None:
            seen.append(EdgeWeights(_rows(kept, operation.library.kept_weights(of, to), edges, weights)))
            ctx.seen = seen[-1]
        ctx.save_for_backward(kept, *fixed, *learned)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept, *rest = ctx.saved_tensors
        geometry, others = len(Edges._fields), len(Edges._fields) + 3  # species and what is constant
        fixed, learned = rest[:others], rest[others:]
        operation = open_convolution(ctx.text, str(kept.dtype).removeprefix("torch."))
        gradient = gradient.contiguous()
        made = [torch.zeros_like(part) for part in learned]
        call = _call(fixed, learned, ctx.scale, operation.most if ctx.seen is None else 0)
        of, to = ctypes.byref(operation.plan), ctypes.byref(call)
        spare = kept.new_empty(operation.library.spare_size(of, to))
        call.kept, call.spare, call.dy = kept.data_ptr(), spare.data_ptr(), gradient.data_ptr()
        by_features, call.dbefore, call.dafter, call.down, *by_network = [part.data_ptr() for part in made]
        network = (_POINTER * len(by_network))(*by_network)
        call.dnetwork = ctypes.addressof(network)
        needed = ctx.needs_input_grad[1]
        call.dx = by_features if needed else None
        operation.library.convolve_back(of, to)
        if ctx.seen is not None:
            ctx.seen.gradient = _rows(
                spare, operation.library.spare_weights(of, to), Edges(*fixed[:geometry]), made[1:]
            )
        return None, made[0] if needed else None, None, None, None, None, None, *made[1:]


def _rows(array: Tensor, start: int, edges: Edges, weights: Sequence[Tensor]) -> Tensor:
    """The part of an array with a row for each edge of `half`, and a column for each of the last layer of `weights`."""
    shape = len(edges.half), weights[-1].shape[1]
    return array[start : start + shape[0] * shape[1]].view(shape)


def _call(fixed: Sequence[Tensor], learned: Sequence[Tensor], scale: float, most: int) -> _Pass:
    """The numbers and addresses that both passes need."""
    source, destination, reverse, half, harmonics, radial, species, entries, knots = (p.data_ptr() for p in fixed)
    x, before, after, own, *matrices = (part.data_ptr() for part in learned)
    network = (_POINTER * len(matrices))(*matrices)
    call = _Pass(
        len(fixed[6]), len(fixed[0]), len(fixed[3]), torch.get_num_threads(), most,
        source, destination, reverse, half, species,
        harmonics, radial, entries, knots, x, before, after, own, ctypes.addressof(network), scale,
    )  # fmt: skip
    call.alive = network
    return call


def _integers(pairs: Sequence[Sequence[int]]) -> Any:
    flat = [number for pair in pairs for number in pair]
    return (_INTEGER * len(flat))(*flat)
