"""Feature statistics: size, share and effective rank of the hidden features of each layer and irrep."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph
from tesseral.models.traces.layers import find_layers


class Feature(NamedTuple):
    """Statistics of one irrep (l, p) of one layer, all invariant under rotations of the input."""

    layer: int
    """Number of the layer, from 1 at the input."""
    l: int  # noqa: E741 - the column's name
    p: int
    rms: float
    """√(mean of x² over atoms, channels and components)."""
    share: float
    """Share of the layer's Σx²; 0 where that sum is zero."""
    effective_rank: float
    """exp(−Σ q_i ln q_i) with q_i = σ_i²/Σσ² and σ_i the singular values of the matrix x of shape
    (channels, atoms · components); Roy & Vetterli, EUSIPCO 2007, with σ² in place of σ.

    It is n where n orthogonal directions are equally strong, 1 where all channels are multiples of one channel, and 0
    where x is zero. A rotation mixes columns only, so no singular value changes.

    Invariants (0e) are centred first: each channel's mean over atoms is subtracted, because only invariants can have a
    mean over all orientations, and that mean would count as one strong direction. The value is therefore 0 where every
    atom has the same invariants.

    The upper bound is min(channels, atoms · (2l+1)), for 0e min(channels, atoms − 1). With few atoms or channels the
    bounds differ between orders l, and the ranks of different l are then not comparable."""


@contextmanager
def keeping_outputs(layers: Sequence[Module]) -> Iterator[dict[int, Any]]:
    """Collect the last output of each layer by its number, from 1.

    :param layers: hidden layers, in order.
    """
    returned: dict[int, Any] = {}

    def keep(number: int) -> Callable[[Module, Any, Any], None]:
        return lambda module, inputs, output: returned.update({number: output})

    hooks = [layer.register_forward_hook(keep(number)) for number, layer in enumerate(layers, start=1)]
    try:
        yield returned
    finally:
        for hook in hooks:
            hook.remove()


def feature_tensors(
    layers: Sequence[Module], returned: dict[int, Any], *, strict: bool
) -> dict[int, tuple[o3.Irreps, Tensor]]:
    """Irreps and features of every layer that was called.

    :param layers: hidden layers that state `irreps_out`.
    :param returned: number of a layer, from 1 → its last output.
    :param strict: whether a layer that returned anything but one tensor of its irreps is an error; else it is left out.
    :returns: number of a layer → irreps and features, shape (…, irreps.dim).
    :raises TypeError: if `strict` and a layer returned anything else.
    """
    features = {}
    for number, values in sorted(returned.items()):
        stated = layers[number - 1].irreps_out
        irreps = fitting(stated, values)
        if irreps is not None:
            features[number] = (irreps, values)
        elif strict:
            raise TypeError(
                f"expected layer {number} to return a tensor of its irreps_out {stated}, got {type(values)}"
            )
    return features


def fitting(stated: Any, values: Any) -> o3.Irreps | None:
    """The stated irreps, if `values` is a floating-point tensor of shape (…, irreps.dim); otherwise None.

    :param stated: a layer's `irreps_out`.
    :param values: what it returned.
    """
    try:
        irreps = o3.Irreps(stated)
    except (TypeError, ValueError):
        return None
    fits = isinstance(values, Tensor) and values.is_floating_point() and values.shape[-1:] == (irreps.dim,)
    return irreps if fits else None


@torch.no_grad()
def trace_features(network: Module, graph: Graph, *, strict: bool = True) -> list[Feature]:
    """Run the network on a graph and measure the outputs of its hidden layers.

    :param network: any network whose hidden layers state `irreps_out`, in evaluation mode if its modes differ.
    :param graph: any graph that the network accepts.
    :param strict: see `feature_tensors`.
    :returns: by layer, then in the order of its irreps.
    """
    layers = find_layers(network, graph).hidden
    with keeping_outputs(layers) as returned:
        network(graph)
    return [
        feature
        for number, (irreps, values) in feature_tensors(layers, returned, strict=strict).items()
        for feature in measure_features(number, irreps, values)
    ]


@torch.no_grad()
def measure_features(layer: int, irreps: o3.Irreps, values: Tensor) -> list[Feature]:
    """Statistics of each (l, p) among the irreps, in their order.

    :param layer: number of the layer, from 1.
    :param values: features, shape (…, irreps.dim).
    """
    matrices = by_irrep(irreps, values)
    squares = {key: float(matrix.square().sum()) for key, matrix in matrices.items()}
    total = sum(squares.values())
    return [
        Feature(
            layer,
            *key,
            (squares[key] / matrix.numel()) ** 0.5 if squares[key] else 0.0,
            squares[key] / total if total else 0.0,
            effective_rank(centred(matrix) if key == (0, 1) else matrix),
        )
        for key, matrix in matrices.items()
    ]


def by_irrep(irreps: o3.Irreps, values: Tensor) -> dict[tuple[int, int], Tensor]:
    """Features as one matrix for each irrep: (l, p) → (channels, atoms · components), float64.

    Repeated entries of one irrep are joined; entries of multiplicity 0 are left out.

    :param irreps: of the last axis.
    :param values: (…, irreps.dim).
    """
    parts: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
    rows = values.reshape(-1, irreps.dim).double()
    for (mul, ir), part in zip(irreps, irreps.slices(), strict=True):
        if mul and len(rows):
            parts[ir.l, ir.p].append(rows[:, part].reshape(-1, mul, ir.dim).transpose(0, 1).flatten(1))
    return {key: torch.cat(matrices) for key, matrices in parts.items()}


def centred(matrix: Tensor) -> Tensor:
    """Subtract each row's mean; the result is exactly 0 where rows are constant up to rounding.

    :param matrix: (channels, atoms · components).
    """
    deviations = matrix - matrix.mean(dim=1, keepdim=True)
    return torch.where(deviations.norm() <= 1e-12 * matrix.norm(), torch.zeros_like(deviations), deviations)


def effective_rank(matrix: Tensor) -> float:
    """Effective rank of a matrix, see `Feature.effective_rank`; NaN where the matrix is not finite.

    :param matrix: (channels, atoms · components), float64.
    """
    # The smaller Gram matrix has the same non-zero eigenvalues σ².
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = (matrix @ matrix.T).cpu()
    scale = float(gram.trace())
    if not 0 < scale < float("inf"):
        return 0.0 if scale == 0 else float("nan")
    q = torch.linalg.eigvalsh(gram / scale).clamp(min=0)
    return float(torch.special.entr(q).sum().exp())
