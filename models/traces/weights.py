"""The irrep and the path that each weight of a network produces, read from the modules that hold the weights.

Supported modules: e3nn's `o3.Linear` and `o3.TensorProduct` (including `o3.FullyConnectedTensorProduct`), our
`ChannelProduct` and `SymmetricContraction`, and the linear maps that mix the paths of a `FusionProduct`, in
`FusionBlock` and `CormorantLayer`. An intermediate result of a layer counts under its own irrep. A product with
invariants only, such as the one-hot of the elements, counts as a linear map with separate weights for each invariant.
All other weights, such as the first layers of a radial network, are attributed to no irrep.

The text of a path names the product, its leaves (the inputs of the tree of products) and every irrep in between, so
that it is unique among the paths of our layers:

    messages: 1o x 2e -> 1o                                       features and harmonics, `ChannelProduct`
    contraction: (1o x 1o -> 2e) x 1o -> 1o                       `SymmetricContraction`
    squares: centre 1o x neighbours 1o -> 0e                      `CormorantLayer`
    diagram: (neighbours 1o x centre 1o -> 2e) x edges 1o -> 1o   `FusionBlock`
    1o x 1o -> 0e                                                 e3nn's `o3.TensorProduct`

Repeated entries of one irrep in the input of a product count as one leaf. Where a layer holds several products of one
kind, such as two of e3nn's, paths with equal text are counted together; weights that are computed for each edge are
never counted together with parameters.
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
from tesseral.models.networks.layers.fusion_block import FusionBlock
from tesseral.models.networks.layers.messages import RadialNetwork
from tesseral.models.networks.paths.path import Leaf, Path
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction


class Key(NamedTuple):
    """The irrep and path that weights produce."""

    l: int  # noqa: E741 - the column's name
    p: int
    path: str | None
    """Text of the path, see above; None for a linear map, such as a path of degree 1."""


class Group(NamedTuple):
    """The weights along one axis of a tensor that share a key."""

    key: Key
    where: slice | np.ndarray
    """Positions along the axis."""


class Attributed(NamedTuple):
    """A parameter whose weights differ in irrep or path along one axis."""

    parameter: Parameter
    axis: int
    groups: list[Group]
    edges: bool
    """Whether the parameter is the last matrix of a radial network, which computes the weights of each edge."""


def attributed(part: Module) -> Iterator[Attributed]:
    """The parameters of a layer that can be attributed, in the order of their registration.

    Weights computed for each edge are the product of edge features and a matrix. That matrix is the last one, in the
    module that holds the tensor product, with as many outputs as the product has weights. Its outputs are the rows of a
    `torch.nn.Linear`, the columns of a radial network (e3nn's `FullyConnectedNet` or ours), and for any other matrix
    the columns if they are equally many, else the rows. Two cases are ambiguous and left out: a last matrix of another
    kind that is square, and a module with several such products of equally many weights.

    :param part: a layer, or the output.
    """
    mixing = dict(filter(None, map(_mixed_paths, part.modules())))
    for module in part.modules():
        if isinstance(module, o3.Linear):
            yield from _linear_weights(module, mixing.get(module))
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
                yield from _radial_weights(module, product)


def edge_products(part: Module) -> list[Module]:
    """The tensor products of a layer whose weights are computed for each edge and passed to their forward.

    :param part: a layer, or the output.
    """
    return [module for module in part.modules() if is_edge_product(module)]


def is_edge_product(module: Module) -> bool:
    """Whether a module is a tensor product that takes weights: as third argument, or named `weight` or `weights`.

    :param module: any.
    """
    outer = isinstance(module, o3.TensorProduct) and not module.internal_weights
    return (outer or isinstance(module, ChannelProduct)) and bool(module.weight_numel)


def product_groups(product: Module) -> list[Group]:
    """Positions of each path's weights among the `weight_numel` weights of a product.

    :param product: one of `edge_products`, or an `o3.TensorProduct` with weights of its own.
    :raises TypeError: if the product is neither a `ChannelProduct` nor an `o3.TensorProduct`.
    """
    if isinstance(product, ChannelProduct):
        return list(_channel_groups(product))
    if not isinstance(product, o3.TensorProduct):
        raise TypeError(f"expected a ChannelProduct or an o3.TensorProduct, got {type(product).__name__}")
    # e3nn lays out weights instruction by instruction; those without weights take no place.
    weighted = [instruction for instruction in product.instructions if instruction.has_weight]
    groups = []
    for ins, where in zip(weighted, _slices(prod(ins.path_shape) for ins in weighted), strict=True):
        left, right = product.irreps_in1[ins.i_in1].ir, product.irreps_in2[ins.i_in2].ir
        ir = product.irreps_out[ins.i_out].ir
        groups.append(Group(Key(ir.l, ir.p, f"{left} x {right} -> {ir}"), where))
    return groups


def squares(values: Tensor, axis: int = -1) -> np.ndarray:
    """Sums of squares over all axes but one, float64.

    :param values: any tensor.
    :param axis: the one that is kept.
    :returns: (length of the axis,).
    """
    others = [other for other in range(values.ndim) if other != axis % values.ndim]
    if not others:
        return values.detach().double().square().cpu().numpy()
    norms = torch.linalg.vector_norm(values.detach(), dim=others, dtype=torch.float64)
    return norms.square().cpu().numpy()


def _mixed_paths(module: Module) -> tuple[o3.Linear, tuple[str, FusionProduct]] | None:
    """The linear map that mixes the paths of a fusion product, with that product and its name; None elsewhere."""
    if isinstance(module, CormorantLayer):
        return module.mix, ("squares", module.product)
    if isinstance(module, FusionBlock) and module.reached:
        return module.root, ("diagram", module.product)
    return None


def _linear_weights(linear: o3.Linear, mixed: tuple[str, FusionProduct] | None) -> Iterator[Attributed]:
    """Weights and biases of an `o3.Linear`.

    :param mixed: name and fusion product whose paths the linear map mixes, if there is one.
    """
    if not linear.internal_weights:
        return
    for parameter, biases in ((linear.weight, False), (linear.bias, True)):
        # e3nn marks the instruction of a bias by i_in = −1, and keeps weights and biases in the order of instructions.
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
                    groups += _path_groups(keys, product.channels, ins.path_shape[1], where.start)
            yield Attributed(parameter, -1, groups, edges=False)


def _path_groups(keys: Sequence[Key], channels: int, outputs: int, start: int) -> Iterator[Group]:
    """Groups of a flattened matrix (channels · paths) × outputs whose first weight has position `start`."""
    positions = start + np.arange(channels * len(keys) * outputs).reshape(channels, len(keys), outputs)
    for number, key in enumerate(keys):
        yield Group(key, positions[:, number].ravel())


def _channel_groups(product: ChannelProduct) -> Iterator[Group]:
    for path, where in zip(product.paths, _slices(path.mul for path in product.paths), strict=True):
        ir_in, harmonic = product.irreps_in[path.source].ir, product.irreps_edge[path.harmonic].ir
        yield Group(Key(path.ir.l, path.ir.p, f"messages: {ir_in} x {harmonic} -> {path.ir}"), where)


def _radial_weights(holder: Module, product: Module) -> Iterator[Attributed]:
    """The last matrix of the radial network that computes a product's weights, unless ambiguous: see `attributed`."""
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
    """The key of a fusion path.

    :param named: whether the text names the leaves.
    """
    return Key(*path.irrep, None if isinstance(path, Leaf) else f"{product}: {_text(path, named)}")


def _text(path: Path, named: bool) -> str:
    """Text of a path, such as `(1o x 1o -> 2e) x 1o -> 1o`."""
    irrep = str(o3.Irrep(path.irrep))
    if isinstance(path, Leaf):
        return f"{path.name} {irrep}" if named else irrep
    texts = (_text(one, named) for one in (path.left, path.right))
    left, right = (f"({text})" if "->" in text else text for text in texts)
    return f"{left} x {right} -> {irrep}"


def _slices(sizes: Iterable[int]) -> list[slice]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]
