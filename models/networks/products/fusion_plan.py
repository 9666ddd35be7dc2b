"""The order of operations that evaluates the paths of fusion diagrams: shared vertices once, in large matrix products.

The nodes of the paths (leaves and vertices) that have the same tree and irrep form a *stack*, a tensor of shape
(rows, nodes, 2l+1); its rows are pairs of an atom and a channel. A *spread* is one operation on a stack on the right of
a vertex: contracted with the Clebsch-Gordan coefficients of every irrep on the left at once,
Σ_{m₂} C_{m₁ m₂ m} right_{m₂}, it becomes a matrix for each row, by which the stacks on the left are then multiplied
(`products.fusion_product`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from tesseral.models.networks.paths.path import Path, Vertex, nodes
from tesseral.models.networks.paths.selection_rules import Irrep, IrrepSet, in_order
from tesseral.study.parsing.fusion_tree import Tree, size


class Stack(NamedTuple):
    """The nodes of one tree, or leaf, and one irrep."""

    shape: Tree | str
    irrep: Irrep

    @property
    def dim(self) -> int:
        """Number of components, 2l+1."""
        return 2 * self.irrep[0] + 1


class Column(NamedTuple):
    """The coupling of a left node with a right node of one irrep, to one irrep."""

    right: Irrep
    result: Irrep

    @property
    def dim(self) -> int:
        """Number of components, 2l+1 of the result."""
        return 2 * self.result[0] + 1


class Block(NamedTuple):
    """All couplings of one left stack with the right stacks: a tensor (rows, left nodes, right nodes, width)."""

    left: Stack
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Number of components of all columns."""
        return sum(column.dim for column in self.columns)


@dataclass(frozen=True)
class Spread:
    """Right stacks that are spread together: all irreps of a leaf, or the vertices of one irrep."""

    shape: Tree
    right: tuple[Stack, ...]
    blocks: tuple[Block, ...]

    @property
    def width(self) -> int:
        """Number of components on the right."""
        return sum(stack.dim for stack in self.right)


@dataclass(frozen=True)
class Plan:
    """All nodes that the paths need, in an order in which they can be computed."""

    roots: dict[Irrep, tuple[Path, ...]]
    """The paths to each irrep, in canonical order."""
    stacks: dict[Stack, tuple[Path, ...]]
    """The nodes that are needed, by tree (small ones first) and irrep."""
    spreads: tuple[Spread, ...]

    @property
    def vertices(self) -> list[Stack]:
        """The stacks that are computed: all except leaves."""
        return [stack for stack in self.stacks if isinstance(stack.shape, Tree)]

    def positions(self, stack: Stack) -> tuple[list[int], int]:
        """Where the nodes of a stack are among all pairs of nodes that the spreads compute for its tree and irrep.

        Pairs are ordered by spread, block, column, left node and right node. Not every pair is a path: dependent ones
        were left out, but come with the matrix product.

        :param stack: one of `vertices`.
        :returns: the index of each node, and the number of pairs.
        """
        places: dict[tuple[Path, Path], int] = {}
        for spread in self.spreads:
            if spread.shape == stack.shape:
                for block in spread.blocks:
                    for column in block.columns:
                        if column.result == stack.irrep:
                            right = self.stacks[Stack(spread.right[0].shape, column.right)]
                            for pair in product(self.stacks[block.left], right):
                                places[pair] = len(places)
        vertices = [node for node in self.stacks[stack] if isinstance(node, Vertex)]
        return [places[node.left, node.right] for node in vertices], len(places)

    @property
    def outputs(self) -> list[list[tuple[Stack, list[int]]]]:
        """For each irrep of `roots`, the stacks that contain its paths, and their indices there."""
        outputs = []
        for irrep, paths in self.roots.items():
            stacks = dict.fromkeys(Stack(path.shape, irrep) for path in paths)
            outputs.append(
                [
                    (stack, [self.stacks[stack].index(path) for path in paths if path.shape == stack.shape])
                    for stack in stacks
                ]
            )
        return outputs

    @property
    def multiplications(self) -> tuple[int, int]:
        """Scalar multiplications in the matrix products, for one channel of one atom: m·k·n for (m, k) by (k, n).

        :returns: of features by coupling coefficients, and of features by features.
        """
        by_coefficients = by_features = 0
        for spread in self.spreads:
            nodes = len(self.stacks[spread.right[0]])
            for block in spread.blocks:
                columns = block.left.dim * nodes * block.width
                by_coefficients += columns * spread.width
                by_features += columns * len(self.stacks[block.left])
        return by_coefficients, by_features


def plan(paths: Iterable[Path]) -> Plan:
    """Plan the evaluation of paths of one tree or several: each vertex that a path needs is computed exactly once.

    :param paths: independent ones.
    """
    roots: dict[Irrep, list[Path]] = {}
    for path in sorted(paths, key=lambda path: (path.irrep[0], -path.irrep[1])):  # stable: keeps the order of trees
        roots.setdefault(path.irrep, []).append(path)
    needed = nodes(path for of in roots.values() for path in of)
    stacks: dict[Stack, list[Path]] = {}
    for node in needed:
        stacks.setdefault(Stack(node.shape, node.irrep), []).append(node)
    # A tree is larger than its subtrees: by ascending size, each stack stands after those it is computed from.
    shapes = sorted({stack.shape for stack in stacks}, key=lambda shape: (size(shape), str(shape)))
    ordered = {
        Stack(shape, irrep): tuple(stacks[Stack(shape, irrep)])
        for shape in shapes
        for irrep in in_order(frozenset(stack.irrep for stack in stacks if stack.shape == shape))
    }
    spreads: list[Spread] = []
    for shape in shapes:
        if isinstance(shape, Tree):
            right = [stack for stack in ordered if stack.shape == shape.right]
            vertices = [node for node in needed if isinstance(node, Vertex) and node.shape == shape]
            # A leaf's irreps have one node each and can stand beside each other; stacks of vertices differ in length.
            for together in [right] if isinstance(shape.right, str) else [[stack] for stack in right]:
                blocks = tuple(_blocks(vertices, {stack.irrep for stack in together}, ordered))
                if blocks:
                    spreads.append(Spread(shape, tuple(together), blocks))
    return Plan({irrep: tuple(to_irrep) for irrep, to_irrep in roots.items()}, ordered, tuple(spreads))


def _blocks(vertices: list[Vertex], right: set[Irrep], ordered: Iterable[Stack]) -> Iterator[Block]:
    """The couplings of vertices whose right child is one of the irreps `right`, grouped by left stack."""
    columns: dict[Stack, dict[Column, None]] = {}
    for vertex in vertices:
        if vertex.right.irrep in right:
            left = Stack(vertex.left.shape, vertex.left.irrep)
            columns.setdefault(left, {})[Column(vertex.right.irrep, vertex.irrep)] = None
    for stack in ordered:
        if stack in columns:
            yield Block(stack, tuple(sorted(columns[stack], key=lambda it: (it.result[0], -it.result[1], it.right))))


def leaf_irreps(paths: Iterable[Path]) -> dict[str, IrrepSet]:
    """Collect the irreps of each leaf that paths begin with.

    :param paths: of any trees.
    :returns: name of a leaf → its irreps.
    """
    irreps: dict[str, set[Irrep]] = {}
    for path in paths:
        for leaf in path.leaves:
            irreps.setdefault(leaf.name, set()).add(leaf.irrep)
    return {name: frozenset(of_leaf) for name, of_leaf in irreps.items()}
