"""Which paths of fusion diagrams are independent as functions of their leaves: exactly, by values at random points."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tesseral.models.networks.paths.exact_coupling import Residues, independent, random_forms, transvectant
from tesseral.models.networks.paths.path import Leaf, Path, Vertex
from tesseral.models.networks.paths.selection_rules import Irrep, symmetric_power

Degree = frozenset[tuple[Leaf, int]]
"""Leaves that a function takes, and how often: that of each, as a polynomial."""


class Kind(NamedTuple):
    """Functions of different kinds are independent."""

    irrep: Irrep
    degree: Degree


def kind(path: Path) -> Kind:
    """What a path makes, and of which leaves."""
    return Kind(path.irrep, frozenset(Counter(path.leaves).items()))


def multiplicity(irrep: Irrep, degree: Iterable[tuple[Leaf, int]]) -> int:
    """How many independent functions of that kind there are, whatever the tree.

    The multiplicity in ⊗ Symⁿ(leaf), by characters: c(L) − c(L+1) with c(M) the dimension of weight M.
    """
    weights = np.ones(1, dtype=np.int64)
    for leaf, n in degree:
        order, parity = leaf.irrep
        power = np.zeros(2 * n * order + 1, dtype=np.int64)
        for term in symmetric_power(order, parity, n):
            power[n * order - term.l : n * order + term.l + 1] += term.mul
        weights = np.convolve(weights, power)
    counts = dict(enumerate(weights[len(weights) // 2 :].tolist()))
    return counts.get(irrep[0], 0) - counts.get(irrep[0] + 1, 0)


class Rank:
    """Ranks of paths as functions; values are kept, for paths share vertices."""

    def __init__(self) -> None:
        self._points = 32
        self._values: dict[Path, Residues] = {}

    def first_independent(self, paths: Sequence[Path]) -> list[Path]:
        """Those that are no combination of paths before them, in their order."""
        kinds: dict[Kind, list[int]] = defaultdict(list)
        for number, path in enumerate(paths):
            kinds[kind(path)].append(number)
        most = {each: multiplicity(*each) for each in kinds}
        # As many points as the largest space has dimensions tell its functions apart, but for bad luck: two to spare.
        if (needed := max(most.values(), default=0) + 2) > self._points:
            self._points, self._values = needed, {}
        rows = self._highest(paths)
        return [
            paths[number]
            for number in sorted(
                numbers[k] for each, numbers in kinds.items() for k in independent(rows[numbers], most[each])
            )
        ]

    def _highest(self, paths: Sequence[Path]) -> Residues:
        """(paths, points): of each its component of highest weight, which tells all of it apart from zero."""
        rows = np.empty((len(paths), self._points), dtype=np.int64)
        alike: dict[tuple[Irrep, Irrep, Irrep], list[int]] = defaultdict(list)
        for number, path in enumerate(paths):
            if isinstance(path, Leaf):
                rows[number] = self._value(path)[:, 0]
            else:
                alike[path.left.irrep, path.right.irrep, path.irrep].append(number)
        for (_, _, (order, _)), numbers in alike.items():
            vertices = [path for path in (paths[number] for number in numbers) if isinstance(path, Vertex)]
            left = np.stack([self._value(vertex.left) for vertex in vertices])
            right = np.stack([self._value(vertex.right) for vertex in vertices])
            rows[numbers] = transvectant(left, right, order, leading=True)[..., 0]
        return rows

    def _value(self, path: Path) -> Residues:
        """(points, 2l+1), of random leaves."""
        if path not in self._values:
            if isinstance(path, Leaf):
                seed = int.from_bytes(f"{path.name} {path.irrep[1]}".encode())
                self._values[path] = random_forms(self._points, path.irrep[0], seed)
            else:
                self._values[path] = transvectant(self._value(path.left), self._value(path.right), path.irrep[0])
        return self._values[path]


def same_functions(one: Sequence[Path], other: Sequence[Path]) -> bool:
    """Whether the combinations of one set of independent paths are those of another.

    Such as those of two trees over the same leaves, which recoupling relates if no internal edge is cut.
    """
    return len(one) == len(other) == len(Rank().first_independent([*one, *other]))
