"""The fused operator's three maps as calls of C++: plans, and what is opened for them.

`kernels.py` states the form that all three are partial derivatives of, `autograd.py` how torch sees them.
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


def run(
    of: str,
    plan: str,
    edges: Sequence[Tensor],
    features: Sequence[Tensor],
    couplings: Tensor,
    weights: Tensor,
    blocks: Sequence[Tensor],
    made: Sequence[Tensor] = (),
) -> None:
    """Call the C++ of a map, which adds to what it makes.

    :param of: `couple`, `pull` or `steer`.
    :param plan: as `read_plan` reads it.
    :param edges: source, destination (ascending) and reverse, (edges,) int64.
    :param features: for each term of the plan, (atoms, 2l+1, channels).
    :param couplings: (edges, couplings); what `steer` makes.
    :param weights: (edges, weights), or (edges/2, weights) where an edge and its reverse share them.
    :param blocks: for each block of the plan, (atoms, 2l+1, channels); what `couple` makes.
    :param made: what `pull` makes: like the features, then like the weights.
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


def empty_blocks(features: Sequence[Tensor], plan: str) -> list[Tensor]:
    """For each block of the plan, (atoms, 2l+1, channels), not filled.

    :param features: of as many atoms.
    :param plan: as `read_plan` reads it.
    """
    return [features[0].new_empty(len(features[0]), *shape) for shape in read_plan(plan).blocks]
