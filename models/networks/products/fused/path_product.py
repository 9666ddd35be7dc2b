"""Trees of Clebsch-Gordan products, and weighted sums of their roots, as one operation of torch's autograd.

It has first derivatives by features and weights, and second ones, as training on forces takes. What is compiled or
exported takes PyTorch's operations instead.
"""

import ctypes
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch.autograd.function import once_differentiable

from tesseral.models.compiled.library import open_library
from tesseral.models.networks.paths.path import Leaf as Node
from tesseral.models.networks.paths.path import Path, Vertex, nodes
from tesseral.models.networks.products.fused.kernels import Kernel, lanes
from tesseral.models.networks.products.fused.path_kernels import tree_source, vertex_source


class Leaf(NamedTuple):
    """One irrep of the features, (channels, 2l+1) in e3nn's layout."""

    tensor: int
    """Index of the tensor of features."""
    offset: int
    """Its first component there."""
    order: int
    """l."""


class Coupling(NamedTuple):
    """A vertex: √(2l+1) Σ C of two nodes. Nodes are counted from the leaves, through the vertices, to the sums."""

    left: int
    right: int
    order: int
    """l of the result."""


class Result(NamedTuple):
    """Where a node stands in a row of the result."""

    node: int
    offset: int
    channel: int
    """Step from a channel to the next."""
    component: int
    """Step from a component to the next."""


class PathPlan(NamedTuple):
    """What a product computes; its text is what `path_product` is given."""

    channels: int
    leaves: list[Leaf]
    vertices: list[Coupling]
    """Each after those that it is made of."""
    sums: list[list[int]]
    """For each weighted sum, its nodes, of one l. Weights are counted through all sums."""
    results: list[Result]
    width: int
    """Components of the result."""

    def text(self) -> str:
        """The plan as JSON."""
        return json.dumps(self)


def plan_nodes(
    paths: Iterable[Path], leaves: Mapping[str, o3.Irreps]
) -> tuple[list[Leaf], list[Coupling], dict[Path, int]]:
    """The leaves and vertices that paths need, each once, and the number of each node.

    :param paths: to be evaluated.
    :param leaves: irreps of the features of each leaf, tensors in this order.
    """
    tensors = {name: number for number, name in enumerate(leaves)}
    offsets = {
        (name, (ir.l, ir.p)): part.start
        for name, irreps in leaves.items()
        for (_, ir), part in zip(irreps, irreps.slices(), strict=True)
    }
    needed = nodes(paths)
    first = [node for node in needed if isinstance(node, Node)]
    vertices = [node for node in needed if isinstance(node, Vertex)]
    ordered: list[Path] = [*first, *vertices]
    numbers = {node: number for number, node in enumerate(ordered)}
    return (
        [Leaf(tensors[node.name], offsets[node.name, node.irrep], node.irrep[0]) for node in first],
        [Coupling(numbers[node.left], numbers[node.right], node.irrep[0]) for node in vertices],
        numbers,
    )


_INTEGER, _POINTER = ctypes.c_int64, ctypes.c_void_p
_MAPS = "couple", "pull", "couple_dual", "pull_dual"


class _Plan(ctypes.Structure):
    """`Plan` of the C++."""

    _fields_ = [
        *((name, _INTEGER) for name in ("channels", "size", "leaves", "vertices", "shares", "results")),
        *((name, _POINTER) for name in ("leaf", "vertex", "share", "result")),
        *((name, _INTEGER) for name in ("weights", "width")),
    ]


class _Pass(ctypes.Structure):
    """`Pass` of the C++."""

    _fields_ = [
        *((name, _INTEGER) for name in ("atoms", "threads")),
        *((name, _POINTER) for name in ("species", "widths", "x", "w", "y", "xs", "ws", "dx", "dw", "dy")),
    ]


class _Product(NamedTuple):
    """A plan, ready to be run."""

    plan: _Plan
    library: ctypes.CDLL
    alive: tuple[Any, ...]
    """What the plan points at."""


@lru_cache(maxsize=4096)
def open_path_product(text: str, real: str) -> _Product:
    """A product, compiled if it was not before.

    :param text: of a `PathPlan`.
    :param real: `float32` or `float64`.
    :raises NoLibraryError: if it cannot be built.
    """
    channels, leaves, vertices, sums, results, width = json.loads(text)
    orders = [order for *_, order in (*leaves, *vertices)]
    orders += [orders[nodes[0]] for nodes in sums]
    dims = [2 * order + 1 for order in orders]
    places = list(accumulate(dims, initial=0))
    compiled: list[int] = []
    for number, (left, right, order) in enumerate(vertices):
        kernel = Kernel((orders[left], orders[right], order), lanes(channels))
        library = open_library(vertex_source(kernel, real))
        compiled += [ctypes.cast(getattr(library, name), _POINTER).value or 0 for name in _MAPS]
        compiled += [places[left], places[right], places[len(leaves) + number]]
    first = len(leaves) + len(vertices)
    shares = [(node, first + number) for number, nodes in enumerate(sums) for node in nodes]
    arrays = {
        "leaf": [(tensor, offset, dims[n], places[n]) for n, (tensor, offset, _) in enumerate(leaves)],
        "share": [(places[node], places[to], dims[node], weight) for weight, (node, to) in enumerate(shares)],
        "result": [(places[node], offset, dims[node], *steps) for node, offset, *steps in results],
    }
    flat = {name: _integers([number for row in rows for number in row]) for name, rows in arrays.items()}
    flat["vertex"] = _integers(compiled)
    plan = _Plan(
        channels=channels,
        size=places[-1],
        leaves=len(leaves),
        vertices=len(vertices),
        shares=len(shares),
        results=len(results),
        weights=len(shares),
        width=width,
        **{name: ctypes.addressof(array) for name, array in flat.items()},
    )
    library = open_library(tree_source(lanes(channels), real))
    library.of_values.restype = library.of_duals.restype = None
    return _Product(plan, library, tuple(flat.values()))


def path_product(text: str, features: Sequence[Tensor], species: Tensor, weights: Tensor) -> Tensor:
    """Multiply features along the trees of a plan.

    :param text: of a `PathPlan`.
    :param features: of its leaves, (atoms, components) each.
    :param species: (atoms,) int64, the element of each; without weighted sums, it may be empty.
    :param weights: of its sums, (elements, weights, channels); without sums, empty.
    :returns: (atoms, width).
    """
    result: Tensor = _Products.apply(text, species, weights, *features)
    return result


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, text: str, species: Tensor, weights: Tensor, *features: Tensor) -> Tensor:
        ctx.text = text
        ctx.save_for_backward(species, weights, *features)
        width = open_path_product(text, str(features[0].dtype).removeprefix("torch.")).plan.width
        result = features[0].new_zeros(len(features[0]), width)  # where no node leads, too
        _run(text, species, weights, features, result=result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_Gradients.apply(ctx.text, gradient, *ctx.saved_tensors)


class _Gradients(torch.autograd.Function):
    """The derivatives of Σ g y by weights and features."""

    @staticmethod
    def forward(ctx: Any, text: str, gradient: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        species, weights, *features = saved
        ctx.text = text
        ctx.save_for_backward(gradient, *saved)
        made = [torch.zeros_like(part, memory_format=torch.contiguous_format) for part in (weights, *features)]
        _run(text, species, weights, features, gradient=gradient, made=made)
        return tuple(made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *changes: Tensor) -> tuple[Tensor | None, ...]:
        """The rate at which the result and its derivatives change with weights and features."""
        gradient, species, weights, *features = ctx.saved_tensors
        made = [torch.zeros_like(part, memory_format=torch.contiguous_format) for part in (weights, *features)]
        result = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        _run(ctx.text, species, weights, features, changes, gradient, made, result)
        return None, result, None, *made


def _run(
    text: str,
    species: Tensor,
    weights: Tensor,
    features: Sequence[Tensor],
    changes: Sequence[Tensor] = (),
    gradient: Tensor | None = None,
    made: Sequence[Tensor] = (),
    result: Tensor | None = None,
) -> None:
    """Call the C++.

    :param changes: of weights and features.
    :param made: gradients by weights and features.
    """
    product = open_path_product(text, str(features[0].dtype).removeprefix("torch."))
    # Kept until the call returns: an address alone keeps no copy alive.
    x, xs = [part.contiguous() for part in features], [part.contiguous() for part in changes]
    w, y, species = weights.contiguous(), None if gradient is None else gradient.contiguous(), species.contiguous()
    lists = [_addresses(x), _addresses(xs[1:]), _addresses(made[1:])]
    widths = _integers([part.shape[1] for part in x])
    call = _Pass(
        atoms=len(x[0]),
        threads=torch.get_num_threads(),
        species=species.data_ptr(),
        widths=ctypes.addressof(widths),
        x=ctypes.addressof(lists[0]),
        w=w.data_ptr(),
        y=None if y is None else y.data_ptr(),
        xs=ctypes.addressof(lists[1]) if xs else None,
        ws=xs[0].data_ptr() if xs else None,
        dx=ctypes.addressof(lists[2]) if made else None,
        dw=made[0].data_ptr() if made else None,
        dy=None if result is None else result.data_ptr(),
    )
    run = product.library.of_duals if xs else product.library.of_values
    run(ctypes.byref(product.plan), ctypes.byref(call))


def _addresses(tensors: Sequence[Tensor]) -> Any:
    return _integers([part.data_ptr() for part in tensors])


def _integers(numbers: Sequence[int]) -> Any:
    return (_INTEGER * max(1, len(numbers)))(*numbers)
