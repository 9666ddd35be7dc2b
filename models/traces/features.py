"""Feature traces: what the hidden features of each layer and irrep are, found by forward hooks."""

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
    """What is measured of one irrep of one layer. All of it is the same for every orientation of the input."""

    layer: int
    """From 1 at the input."""
    l: int  # noqa: E741 - the column's name
    p: int
    rms: float
    """√(mean of x² over atoms, channels and components)."""
    share: float
    """Part of the layer's Σx²; 0 where that vanishes."""
    effective_rank: float
    """exp(−Σ q_i ln q_i), q_i = σ_i²/Σσ², σ the singular values of the matrix x of channels × (atoms · components)
    (Roy & Vetterli, 2007, of σ² in place of σ). n where n orthogonal directions are equally strong; 1 where all
    channels are multiples of one; 0 where x vanishes. A rotation mixes columns alone, and changes no σ.

    Of the invariants, 0e, each channel's mean over atoms is taken off first: they alone can have one over all
    orientations, and it would stand as one strong direction. So it is 0 where no invariant differs among atoms.

    Never more than min(channels, atoms · (2l+1)), of 0e min(channels, atoms − 1): of few atoms or channels, orders l
    cannot be compared by it. Of each (l, p) by itself: the directions of two parities are not those of one matrix."""


@contextmanager
def keeping_outputs(layers: Sequence[Module]) -> Iterator[dict[int, Any]]:
    """While open: number of a layer, from 1 → what it returned last."""
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
    """Number of a layer → its irreps and its features, (…, irreps.dim), of those that were called.

    :param strict: otherwise a layer that returned something else than one tensor of its irreps is left out.
    :raises TypeError: if a layer did so, and `strict`.
    """
    found = {}
    for number, values in sorted(returned.items()):
        stated = layers[number - 1].irreps_out
        irreps = fitting(stated, values)
        if irreps is not None:
            found[number] = (irreps, values)
        elif strict:
            raise TypeError(
                f"expected layer {number} to return a tensor of its irreps_out {stated}, got {type(values)}"
            )
    return found


def fitting(stated: Any, values: Any) -> o3.Irreps | None:
    """The stated irreps, if they are irreps and the values are a tensor of them."""
    try:
        irreps = o3.Irreps(stated)
    except (TypeError, ValueError):
        return None
    fits = isinstance(values, Tensor) and values.is_floating_point() and values.shape[-1:] == (irreps.dim,)
    return irreps if fits else None


@torch.no_grad()
def trace_features(network: Module, graph: Graph, *, strict: bool = True) -> list[Feature]:
    """Run the network on a graph and measure what its hidden layers return; see `feature_tensors`."""
    layers = find_layers(network, graph).hidden
    with keeping_outputs(layers) as returned:
        network(graph)
    found = feature_tensors(layers, returned, strict=strict)
    return [
        feature for number, (irreps, values) in found.items() for feature in measure_features(number, irreps, values)
    ]


@torch.no_grad()
def measure_features(layer: int, irreps: o3.Irreps, values: Tensor) -> list[Feature]:
    """One row for each (l, p) among the irreps, in their order.

    :param values: (…, irreps.dim).
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
    """(l, p) → (channels, atoms · components), float64. Irreps that stand apart are joined, empty ones left out."""
    parts: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
    rows = values.reshape(-1, irreps.dim).double()
    for (mul, ir), part in zip(irreps, irreps.slices(), strict=True):
        if mul and len(rows):
            parts[ir.l, ir.p].append(rows[:, part].reshape(-1, mul, ir.dim).transpose(0, 1).flatten(1))
    return {key: torch.cat(matrices) for key, matrices in parts.items()}


def centred(matrix: Tensor) -> Tensor:
    """Each row less its mean; exactly 0 where they differ by rounding alone."""
    found = matrix - matrix.mean(dim=1, keepdim=True)
    return torch.where(found.norm() <= 1e-12 * matrix.norm(), torch.zeros_like(found), found)


def effective_rank(matrix: Tensor) -> float:
    """See `Feature.effective_rank`; not a number where the matrix is not finite."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = (matrix @ matrix.T).cpu()
    scale = float(gram.trace())
    if not 0 < scale < float("inf"):
        return 0.0 if scale == 0 else float("nan")
    q = torch.linalg.eigvalsh(gram / scale).clamp(min=0)
    return float(torch.special.entr(q).sum().exp())
