"""The coefficients of a symmetric contraction: every path of one channel's powers as a polynomial of its components."""

from collections import defaultdict
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from e3nn import o3

from tesseral.models.networks.paths.fusion_paths import Leaf, Path, paths
from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.models.networks.products.monomials import LARGEST, Monomials, monomials, polynomial, second_moment
from tesseral.study.parsing.fusion_tree import comb


class Block(NamedTuple):
    """Some paths to a root, and a run of monomials that holds all of theirs."""

    paths: int
    """How many of the root's, from the last block's on."""
    coefficients: np.ndarray
    """(paths, 2L+1, monomials)."""


class Root(NamedTuple):
    """All that is made of one irrep."""

    paths: tuple[Path, ...]
    """By degree, then by content: the irreps of their leaves."""
    blocks: tuple[Block, ...]
    """One after the other they take all paths, and all monomials of the root's parity, by degree."""


class Plan(NamedTuple):
    """The polynomials of all paths."""

    bases: tuple[Monomials, ...]
    """By degree, from 1."""
    roots: tuple[Root, ...]


@lru_cache(maxsize=64)
def contraction_plan(irreps: tuple[Irrep, ...], roots: tuple[Irrep, ...], correlation: int) -> Plan:
    """Of one channel of `irreps`, the paths of degree 1..correlation to each of `roots`.

    They are those of a left comb of equal leaves (`tesseral.models.networks.paths.fusion_paths`), scaled to a second
    moment of 1 for independent normal components of variance 1.
    """
    bases = tuple(monomials(irreps, degree) for degree in range(1, correlation + 1))
    starts = dict(zip(irreps, accumulate((2 * order + 1 for order, _ in irreps), initial=0), strict=False))
    found: dict[tuple[Irrep, tuple[int, ...]], list[Path]] = defaultdict(list)
    for degree in range(1, correlation + 1):
        for path in paths(comb("x", degree), {"x": frozenset(irreps)}, frozenset(roots)):
            content = tuple(sorted(irreps.index(leaf.irrep) for leaf in path.leaves))
            found[path.irrep, content].append(path)
    tensors: dict[Path, np.ndarray] = {}
    made = []
    for root in roots:
        ordered: list[Path] = []
        blocks: list[Block] = []
        for run in (run for basis in bases for run in basis.runs(root[1])):
            group = found[root, tuple(run.contents[0])]
            rows = np.zeros((len(group), 2 * root[0] + 1, len(run)))
            for rank, path in enumerate(group):
                row = polynomial(_tensor(path, tensors), [starts[leaf.irrep] for leaf in path.leaves], run)
                rows[rank] = row / second_moment(row[0], run) ** 0.5
            ordered += group
            blocks[-1:] = _join(*blocks[-1:], Block(len(group), rows))
        made.append(Root(tuple(ordered), tuple(blocks)))
    return Plan(bases, tuple(made))


def _join(*blocks: Block) -> list[Block]:
    """Two blocks as one, their coefficients on its diagonal, if it is not too large."""
    number = sum(block.paths for block in blocks)
    width = sum(block.coefficients.shape[2] for block in blocks)
    rows = blocks[0].coefficients.shape[1]
    if len(blocks) == 1 or number * rows * width > LARGEST:
        return list(blocks)
    joined = np.zeros((number, rows, width))
    first, second = blocks
    joined[: first.paths, :, : first.coefficients.shape[2]] = first.coefficients
    joined[first.paths :, :, first.coefficients.shape[2] :] = second.coefficients
    return [Block(number, joined)]


def _tensor(path: Path, known: dict[Path, np.ndarray]) -> np.ndarray:
    """(2L+1, an axis for each leaf), in the real components of e3nn."""
    if isinstance(path, Leaf):
        return np.eye(2 * path.irrep[0] + 1)
    if path not in known:
        left, right = _tensor(path.left, known), _tensor(path.right, known)
        coupling = o3.wigner_3j(path.left.irrep[0], path.right.irrep[0], path.irrep[0], dtype=torch.float64).numpy()
        known[path] = np.tensordot(np.tensordot(coupling, left, (0, 0)), right, (0, 0))
    return known[path]
