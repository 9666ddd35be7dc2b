"""The coefficients of a symmetric contraction: each path of a channel's powers as a polynomial of its components."""

from collections import defaultdict
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from e3nn import o3

from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.path import Leaf, Path
from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.models.networks.products.monomials import MAX_BLOCK, Monomials, monomials, polynomial, second_moment
from tesseral.study.parsing.fusion_tree import comb


class Block(NamedTuple):
    """Coefficients of consecutive paths to a root in consecutive monomials; outside of it these paths have none."""

    paths: int
    """Number of paths, following those of the block before."""
    coefficients: np.ndarray
    """(paths, 2L+1, monomials)."""


class Root(NamedTuple):
    """All paths to one irrep."""

    paths: tuple[Path, ...]
    """Sorted by degree, then by the irreps of their leaves."""
    blocks: tuple[Block, ...]
    """Together they cover all paths, and all monomials of the root's parity by degree, each in order."""
    scales: tuple[float, ...]
    """Of each path, what makes the second moment of its product, with √(2l+1) at each vertex, 1."""


class Plan(NamedTuple):
    """A symmetric contraction as polynomials."""

    bases: tuple[Monomials, ...]
    """The monomials of each degree, from 1."""
    roots: tuple[Root, ...]


@lru_cache(maxsize=64)
def contraction_plan(irreps: tuple[Irrep, ...], roots: tuple[Irrep, ...], correlation: int) -> Plan:
    """Write the paths of degree 1..correlation from one channel of `irreps` to each of `roots` as polynomials.

    The paths are the independent ones of a left comb, the tree (((x x) x) x) of equal leaves: no tree of equal leaves
    spans more. Each is scaled to a second moment of 1 for independent standard normal components.

    :param irreps: of the channel, each once, in the order of its components.
    :param roots: irreps asked for.
    :param correlation: the highest degree.
    :raises TesseralError: if a degree has too many paths, see `paths`.
    """
    bases = tuple(monomials(irreps, degree) for degree in range(1, correlation + 1))
    starts = dict(zip(irreps, accumulate((2 * order + 1 for order, _ in irreps), initial=0), strict=False))
    # A path makes monomials of its own content only. So coefficients are stored as blocks on the diagonal.
    by_content: dict[tuple[Irrep, tuple[int, ...]], list[Path]] = defaultdict(list)
    for degree in range(1, correlation + 1):
        for path in paths(comb("x", degree), {"x": frozenset(irreps)}, frozenset(roots)):
            content = tuple(sorted(irreps.index(leaf.irrep) for leaf in path.leaves))
            by_content[path.irrep, content].append(path)
    tensors: dict[Path, np.ndarray] = {}
    planned = []
    for root in roots:
        ordered: list[Path] = []
        blocks: list[Block] = []
        scales: list[float] = []
        for run in (run for basis in bases for run in basis.runs(root[1])):
            group = by_content[root, tuple(run.contents[0])]
            rows = np.zeros((len(group), 2 * root[0] + 1, len(run)))
            for rank, path in enumerate(group):
                row = polynomial(_tensor(path, tensors), [starts[leaf.irrep] for leaf in path.leaves], run)
                # All components of an equivariant polynomial have the same second moment: the first one tells it.
                rows[rank] = row / (size := second_moment(row[0], run) ** 0.5)
                scales.append(1 / (size * _roots(path)))
            ordered += group
            blocks[-1:] = _join(*blocks[-1:], Block(len(group), rows))
        planned.append(Root(tuple(ordered), tuple(blocks), tuple(scales)))
    return Plan(bases, tuple(planned))


def _join(*blocks: Block) -> list[Block]:
    """Join two blocks as the diagonal of one, if it is not too large."""
    number = sum(block.paths for block in blocks)
    width = sum(block.coefficients.shape[2] for block in blocks)
    rows = blocks[0].coefficients.shape[1]
    if len(blocks) == 1 or number * rows * width > MAX_BLOCK:
        return list(blocks)
    joined = np.zeros((number, rows, width))
    first, second = blocks
    joined[: first.paths, :, : first.coefficients.shape[2]] = first.coefficients
    joined[first.paths :, :, first.coefficients.shape[2] :] = second.coefficients
    return [Block(number, joined)]


def _roots(path: Path) -> float:
    """The product of √(2l+1) over a path's vertices."""
    if isinstance(path, Leaf):
        return 1.0
    return (2 * path.irrep[0] + 1) ** 0.5 * _roots(path.left) * _roots(path.right)


def _tensor(path: Path, known: dict[Path, np.ndarray]) -> np.ndarray:
    """The path as a multilinear map in e3nn's real components, (2L+1, an axis for each leaf)."""
    if isinstance(path, Leaf):
        return np.eye(2 * path.irrep[0] + 1)
    if path not in known:
        # Without the factor √(2l+1) of other products: the plan scales each path to a second moment of 1 in the end.
        left, right = _tensor(path.left, known), _tensor(path.right, known)
        coupling = o3.wigner_3j(path.left.irrep[0], path.right.irrep[0], path.irrep[0], dtype=torch.float64).numpy()
        known[path] = np.tensordot(np.tensordot(coupling, left, (0, 0)), right, (0, 0))
    return known[path]
