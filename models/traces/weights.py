"""Which irrep, and by which path, each weight of a network makes: read off the modules that hold the weights.

Known are e3nn's `o3.Linear` and `o3.TensorProduct` (so `o3.FullyConnectedTensorProduct` too) and our `ChannelProduct`,
`SymmetricContraction`, and the linear maps that read the paths of a `FusionProduct`, in `FusionBlock` and
`CormorantLayer`. What a layer makes on its way to its features counts under its own irrep. A product with invariants
alone, such as the one-hot of the elements, is a linear map with weights of its own for each. Other weights, such as the
first layers of a radial network, belong to none.

The text of a path names the product, its leaves and every irrep on its way, so no two paths of our layers share one:

    messages: 1o x 2e -> 1o                                       features and harmonics, `ChannelProduct`
    contraction: (1o x 1o -> 2e) x 1o -> 1o                       `SymmetricContraction`
    squares: centre 1o x neighbours 1o -> 0e                      `CormorantLayer`
    diagram: (neighbours 1o x centre 1o -> 2e) x edges 1o -> 1o   `FusionBlock`
    1o x 1o -> 0e                                                 e3nn's `o3.TensorProduct`

Blocks of one irrep that stand apart in the input of a product are one leaf. Where a layer holds several products of one
kind, such as two of e3nn's, the paths that share a text count together; but those whose weights are computed for each
edge never count with others.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from e3nn import o3
from e3nn.nn import FullyConnectedNet
from torch import Tensor
from torch.nn import Module, Parameter

from tesseral.models.networks.layers.cormorant import CormorantLayer
from tesseral.models.networks.layers.fusion_block import FusionBlock, FusionProduct
from tesseral.models.networks.layers.messages import RadialNetwork
from tesseral.models.networks.paths.fusion_paths import Leaf, Path
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction


class Key(NamedTuple):
    """What weights make."""

    l: int  # noqa: E741 - the column's name
    p: int
    path: str | None
    """Its text, see above; None of a linear map, such as a path of degree 1."""


class Group(NamedTuple):
    """Some of the weights along one axis of a tensor."""

    key: Key
    where: slice | np.ndarray
    """Positions along the axis."""


class Attributed(NamedTuple):
    """A parameter whose weights are told apart along one axis."""

    parameter: Parameter
    axis: int
    groups: list[Group]
    edges: bool
    """Whether it is a matrix that makes the weights of edges, and so no weight of a product itself."""


def attributed(part: Module) -> Iterator[Attributed]:
    """The parameters of a part of a network that can be attributed, in the order of their registration.

    Weights that are computed for each edge are the product of some features of the edge and a matrix: the last one in
    the module that holds the product with as many outputs as there are weights. The outputs of a `torch.nn.Linear` are
    its rows; those of a radial network, e3nn's `FullyConnectedNet` or ours, its columns; those of another matrix its
    columns, or else its rows. A square matrix of which neither is known might have either: where it is the last, none
    is attributed, nor where a module holds several such products with equally many weights.
    """
    mixing = dict(filter(None, map(_mixed_paths, part.modules())))
    for module in part.modules():
        if isinstance(module, o3.Linear):
            yield from _of_linear(module, mixing.get(module))
        elif isinstance(module, o3.TensorProduct) and module.internal_weights and module.weight_numel:
            groups = product_groups(module)
            if all(ir == o3.Irrep("0e") for _, ir in module.irreps_in2):
                groups = [Group(group.key._replace(path=None), group.where) for group in groups]
            yield Attributed(module.weight, -1, groups, edges=False)
        elif isinstance(module, SymmetricContraction):
            for weight, paths in zip(module.weights, module.paths, strict=True):
                keys = [_path_key("contraction", path, named=False) for path in paths]
                groups = [Group(key, slice(row, row + 1)) for row, key in enumerate(keys)]
                yield Attributed(weight, 0, groups, edges=False)
        products = [child for child in module.children() if is_edge_product(child)]
        for product in products:
            if sum(other.weight_numel == product.weight_numel for other in products) == 1:
                yield from _of_edges(module, product)


def edge_products(part: Module) -> list[Module]:
    """The products in a part of a network whose weights are computed and passed to their forward."""
    return [module for module in part.modules() if is_edge_product(module)]


def is_edge_product(module: Module) -> bool:
    """Whether weights are passed to its forward, as the third argument or by the name `weight` or `weights`."""
    outer = isinstance(module, o3.TensorProduct) and not module.internal_weights
    return (outer or isinstance(module, ChannelProduct)) and bool(module.weight_numel)


def product_groups(product: Module) -> list[Group]:
    """Where the weights of each path of a product stand in its `weight_numel` weights."""
    if isinstance(product, ChannelProduct):
        return list(_of_channels(product))
    if not isinstance(product, o3.TensorProduct):
        raise TypeError(f"expected a ChannelProduct or an o3.TensorProduct, got {type(product).__name__}")
    weighted = [instruction for instruction in product.instructions if instruction.has_weight]
    groups = []
    for ins, where in zip(weighted, _slices(prod(ins.path_shape) for ins in weighted), strict=True):
        left, right = product.irreps_in1[ins.i_in1].ir, product.irreps_in2[ins.i_in2].ir
        ir = product.irreps_out[ins.i_out].ir
        groups.append(Group(Key(ir.l, ir.p, f"{left} x {right} -> {ir}"), where))
    return groups


def squares(values: Tensor, axis: int = -1) -> np.ndarray:
    """Σ of the squares over all but one axis, float64."""
    others = [other for other in range(values.ndim) if other != axis % values.ndim]
    if not others:
        return values.detach().double().square().cpu().numpy()
    norms = torch.linalg.vector_norm(values.detach(), dim=others, dtype=torch.float64)
    return norms.square().cpu().numpy()


def _mixed_paths(module: Module) -> tuple[o3.Linear, tuple[str, FusionProduct]] | None:
    """The linear map that reads the paths of a product, and the product by its name, of a module that holds both."""
    if isinstance(module, CormorantLayer):
        return module.mix, ("squares", module.product)
    if isinstance(module, FusionBlock) and module.reached:
        return module.root, ("diagram", module.product)
    return None


def _of_linear(linear: o3.Linear, mixed: tuple[str, FusionProduct] | None) -> Iterator[Attributed]:
    """:param mixed: name and product of which it reads the paths, if it does."""
    if not linear.internal_weights:
        return
    for parameter, biases in ((linear.weight, False), (linear.bias, True)):
        chosen = [ins for ins in linear.instructions if (ins.i_in == -1) is biases]
        if isinstance(parameter, Parameter) and parameter.numel():
            places = _slices(prod(ins.path_shape) for ins in chosen)
            groups = []
            for ins, where in zip(chosen, places, strict=True):
                ir = linear.irreps_out[ins.i_out].ir
                if mixed is None or biases:
                    groups.append(Group(Key(ir.l, ir.p, None), where))
                else:
                    name, product = mixed
                    keys = [_path_key(name, path, named=True) for path in product.paths[ir.l, ir.p]]
                    groups += _of_paths(keys, product.channels, ins.path_shape[1], where.start)
            yield Attributed(parameter, -1, groups, edges=False)


def _of_paths(keys: Sequence[Key], channels: int, outputs: int, start: int) -> Iterator[Group]:
    """Of a matrix of (channels · paths) × outputs whose first weight is number `start`."""
    positions = start + np.arange(channels * len(keys) * outputs).reshape(channels, len(keys), outputs)
    for number, key in enumerate(keys):
        yield Group(key, positions[:, number].ravel())


def _of_channels(product: ChannelProduct) -> Iterator[Group]:
    first = 0
    for group, (mul, ir_in) in zip(product.groups, product.irreps_in, strict=True):
        end = first + mul * len(group)
        for number, path in enumerate(group):  # of each channel, the weights of all paths stand side by side
            text = f"messages: {ir_in} x {product.irreps_edge[path.harmonic].ir} -> {path.ir}"
            yield Group(Key(path.ir.l, path.ir.p, text), slice(first + number, end, len(group)))
        first = end


def _of_edges(holder: Module, product: Module) -> Iterator[Attributed]:
    number = product.weight_numel
    columns: list[tuple[Parameter, int | None]] = []
    rows: list[tuple[Parameter, int | None]] = []
    known = {
        id(matrix): axis
        for kinds, axis in (((torch.nn.Linear,), 0), ((FullyConnectedNet, RadialNetwork), 1))
        for module in holder.modules()
        if isinstance(module, kinds)
        for matrix in module.parameters()
    }
    for matrix in holder.parameters():
        if matrix.ndim == 2 and number in matrix.shape:
            axis = known.get(id(matrix))
            if axis is not None and matrix.shape[axis] == number:
                columns.append((matrix, axis))
            elif axis is None and matrix.shape[1] == number:
                columns.append((matrix, None if matrix.shape[0] == number else 1))
            elif axis is None:
                rows.append((matrix, 0))
    for matrix, axis in (columns or rows)[-1:]:
        if axis is not None:
            yield Attributed(matrix, axis, product_groups(product), edges=True)


def _path_key(product: str, path: Path, *, named: bool) -> Key:
    """:param named: whether the leaves' names are told."""
    return Key(*path.irrep, None if isinstance(path, Leaf) else f"{product}: {_text(path, named)}")


def _text(path: Path, named: bool) -> str:
    """Such as `(1o x 1o -> 2e) x 1o -> 1o`."""
    irrep = str(o3.Irrep(path.irrep))
    if isinstance(path, Leaf):
        return f"{path.name} {irrep}" if named else irrep
    texts = (_text(one, named) for one in (path.left, path.right))
    left, right = (f"({text})" if "->" in text else text for text in texts)
    return f"{left} x {right} -> {irrep}"


def _slices(sizes: Iterable[int]) -> list[slice]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]
