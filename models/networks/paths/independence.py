"""Linear independence of paths as functions of their leaves: exact, from their values at random points.

A path is a polynomial map of its leaves' components. Its component of highest weight, m = L, determines the whole map:
the other components follow from it by rotation. So paths are independent if these components are, and as polynomials
they are if the vectors of their values at enough random points are. The values are integers modulo a prime
(`exact_coupling`), so the rank of these vectors is not blurred by rounding.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tesseral.models.networks.paths.exact_coupling import Residues, couple, independent_rows, random_forms
from tesseral.models.networks.paths.path import Leaf, Path, Vertex
from tesseral.models.networks.paths.selection_rules import Irrep, symmetric_power

Degree = frozenset[tuple[Leaf, int]]
"""The leaves that a function depends on, with its polynomial degree in each."""


class Kind(NamedTuple):
    """The irrep of a function and its degrees; functions of different kinds are always independent."""

    irrep: Irrep
    degree: Degree


def kind(path: Path) -> Kind:
    """The irrep and the degrees of a path.

    :param path: of any tree.
    """
    return Kind(path.irrep, frozenset(Counter(path.leaves).items()))


def multiplicity(irrep: Irrep, degree: Iterable[tuple[Leaf, int]]) -> int:
    """Count the independent functions of one kind, whatever the tree: the multiplicity of L in ⊗ Symⁿ(leaf).

    Functions of degree n in the components of one leaf are its Symⁿ. In ⊗ Symⁿ, let c(M) be the dimension of the
    subspace of weight M: each irrep of l ≥ M has one vector there. So c(L) − c(L+1) irreps have l = L.

    :param irrep: (L, p); p is taken to be the product of the leaves' parities, which every path has.
    :param degree: each leaf with its degree n.
    """
    weights = np.ones(1, dtype=np.int64)
    for leaf, n in degree:
        order, parity = leaf.irrep
        power = np.zeros(2 * n * order + 1, dtype=np.int64)
        for term in symmetric_power(order, parity, n):
            power[n * order - term.l : n * order + term.l + 1] += term.mul
        weights = np.convolve(weights, power)
    dimensions = dict(enumerate(weights[len(weights) // 2 :].tolist()))
    return dimensions.get(irrep[0], 0) - dimensions.get(irrep[0] + 1, 0)


class Rank:
    """The rank of sets of paths as functions; values are kept between calls, because paths share vertices."""

    def __init__(self) -> None:
        self._points = 32
        self._values: dict[Path, Residues] = {}

    def first_independent(self, paths: Sequence[Path]) -> list[Path]:
        """Select, in order, the paths that are no linear combination of the paths before them.

        :param paths: of any trees over the same leaves.
        """
        kinds: dict[Kind, list[int]] = defaultdict(list)
        for number, path in enumerate(paths):
            kinds[kind(path)].append(number)
        dimensions = {each: multiplicity(*each) for each in kinds}
        # In a space of dimension d, values at d random points separate the functions except with probability about
        # degree/PRIME; two more points make that negligible.
        if (needed := max(dimensions.values(), default=0) + 2) > self._points:
            self._points, self._values = needed, {}
        rows = self._highest(paths)
        return [
            paths[number]
            for number in sorted(
                numbers[k] for each, numbers in kinds.items() for k in independent_rows(rows[numbers], dimensions[each])
            )
        ]

    def _highest(self, paths: Sequence[Path]) -> Residues:
        """(paths, points): the component of highest weight of each path."""
        rows = np.empty((len(paths), self._points), dtype=np.int64)
        # Paths whose last vertex couples the same irreps are evaluated in one call.
        groups: dict[tuple[Irrep, Irrep, Irrep], list[int]] = defaultdict(list)
        for number, path in enumerate(paths):
            if isinstance(path, Leaf):
                rows[number] = self._value(path)[:, 0]
            else:
                groups[path.left.irrep, path.right.irrep, path.irrep].append(number)
        for (_, _, (order, _)), numbers in groups.items():
            vertices = [path for path in (paths[number] for number in numbers) if isinstance(path, Vertex)]
            left = np.stack([self._value(vertex.left) for vertex in vertices])
            right = np.stack([self._value(vertex.right) for vertex in vertices])
            rows[numbers] = couple(left, right, order, highest=True)[..., 0]
        return rows

    def _value(self, path: Path) -> Residues:
        """(points, 2l+1): the path's components at random values of its leaves."""
        if path not in self._values:
            if isinstance(path, Leaf):
                # The seed depends on name and parity alone, so a leaf has the same values in every tree.
                seed = int.from_bytes(f"{path.name} {path.irrep[1]}".encode())
                self._values[path] = random_forms(self._points, path.irrep[0], seed)
            else:
                self._values[path] = couple(self._value(path.left), self._value(path.right), path.irrep[0])
        return self._values[path]


def same_functions(first: Sequence[Path], second: Sequence[Path]) -> bool:
    """Whether two sets of independent paths span the same functions.

    Two trees over the same leaves do, by recoupling, unless `k_max` cuts an internal edge.

    :param first: independent paths.
    :param second: independent paths over the same leaves.
    """
    return len(first) == len(second) == len(Rank().first_independent([*first, *second]))
