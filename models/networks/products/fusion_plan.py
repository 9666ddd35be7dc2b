"""How the paths of fusion diagrams are evaluated: shared vertices once, and few large products of matrices.

Rows are pairs of an atom and a channel. The nodes (leaves and vertices) of one tree and one irrep are a stack, of shape
(rows, nodes, 2l+1). Of each tree, a stack on its right is spread into matrices, Σ_{m₂} C_{m₁ m₂ m} right_{m₂}, for all
irreps on its left at once; each stack on its left is then multiplied by its matrix.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from tesseral.models.networks.paths.fusion_paths import Path, Vertex, in_order
from tesseral.models.networks.paths.selection_rules import Irrep, Orders
from tesseral.study.parsing.fusion_tree import Tree, size


class Stack(NamedTuple):
    """The nodes of one tree (or leaf) and irrep."""

    shape: Tree | str
    irrep: Irrep

    @property
    def dim(self) -> int:
        """Components, 2l+1."""
        return 2 * self.irrep[0] + 1


class Column(NamedTuple):
    """What one left node makes of one right node."""

    right: Irrep
    made: Irrep

    @property
    def dim(self) -> int:
        """Components."""
        return 2 * self.made[0] + 1


class Block(NamedTuple):
    """What a stack on the left makes of those on the right: (rows, left nodes, right nodes, width)."""

    left: Stack
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Components of all columns."""
        return sum(column.dim for column in self.columns)


@dataclass(frozen=True)
class Spread:
    """Stacks on the right, beside each other: all irreps of a leaf, or the vertices of one irrep."""

    shape: Tree
    right: tuple[Stack, ...]
    blocks: tuple[Block, ...]

    @property
    def width(self) -> int:
        """Components on the right."""
        return sum(stack.dim for stack in self.right)


@dataclass(frozen=True)
class Plan:
    """Everything that paths need, in an order in which it can be made."""

    roots: dict[Irrep, tuple[Path, ...]]
    """The paths by the irrep of their root, in canonical order."""
    stacks: dict[Stack, tuple[Path, ...]]
    """The nodes that are needed."""
    spreads: tuple[Spread, ...]

    @property
    def vertices(self) -> list[Stack]:
        """The stacks that are made: all but those of leaves."""
        return [stack for stack in self.stacks if isinstance(stack.shape, Tree)]

    def positions(self, stack: Stack) -> tuple[list[int], int]:
        """Of each node of a stack of vertices, among all that the columns of its irrep hold; and how many they hold.

        Columns are in order of spread, block and column; of each, left nodes come first and right nodes last.
        """
        places: dict[tuple[Path, Path], int] = {}
        for spread in self.spreads:
            if spread.shape == stack.shape:
                for block in spread.blocks:
                    for column in block.columns:
                        if column.made == stack.irrep:
                            right = self.stacks[Stack(spread.right[0].shape, column.right)]
                            for pair in product(self.stacks[block.left], right):
                                places[pair] = len(places)
        found = [node for node in self.stacks[stack] if isinstance(node, Vertex)]
        return [places[node.left, node.right] for node in found], len(places)

    @property
    def outputs(self) -> list[list[tuple[Stack, list[int]]]]:
        """Of each irrep of `roots`, the stacks that its paths lie in, and their positions there."""
        found = []
        for irrep, paths in self.roots.items():
            stacks = dict.fromkeys(Stack(path.shape, irrep) for path in paths)
            found.append(
                [
                    (stack, [self.stacks[stack].index(path) for path in paths if path.shape == stack.shape])
                    for stack in stacks
                ]
            )
        return found

    @property
    def operations(self) -> int:
        """Multiplications and additions of the products of matrices, for one channel of one atom, forwards.

        What `torch.utils.flop_counter` counts: 2·m·k·n for an (m, k) by a (k, n) matrix.
        """
        total = 0
        for spread in self.spreads:
            nodes = len(self.stacks[spread.right[0]])
            for block in spread.blocks:
                columns = 2 * block.left.dim * nodes * block.width
                total += columns * (spread.width + len(self.stacks[block.left]))
        return total


def plan(paths: Iterable[Path]) -> Plan:
    """The evaluation of paths, of one tree or several; each vertex is there once, and none that no path needs."""
    nodes: dict[Path, None] = {}

    def visit(node: Path) -> None:
        if isinstance(node, Vertex) and node not in nodes:
            visit(node.left)
            visit(node.right)
        nodes[node] = None

    roots: dict[Irrep, list[Path]] = {}
    for path in sorted(paths, key=lambda path: (path.irrep[0], -path.irrep[1])):  # stable: trees stay in order
        roots.setdefault(path.irrep, []).append(path)
        visit(path)
    stacks: dict[Stack, list[Path]] = {}
    for node in nodes:
        stacks.setdefault(Stack(node.shape, node.irrep), []).append(node)
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
            vertices = [node for node in nodes if isinstance(node, Vertex) and node.shape == shape]
            for together in [right] if isinstance(shape.right, str) else [[stack] for stack in right]:
                blocks = tuple(_blocks(vertices, {stack.irrep for stack in together}, ordered))
                if blocks:
                    spreads.append(Spread(shape, tuple(together), blocks))
    return Plan({irrep: tuple(found) for irrep, found in roots.items()}, ordered, tuple(spreads))


def _blocks(vertices: list[Vertex], right: set[Irrep], ordered: Iterable[Stack]) -> Iterator[Block]:
    columns: dict[Stack, dict[Column, None]] = {}
    for vertex in vertices:
        if vertex.right.irrep in right:
            left = Stack(vertex.left.shape, vertex.left.irrep)
            columns.setdefault(left, {})[Column(vertex.right.irrep, vertex.irrep)] = None
    for stack in ordered:
        if stack in columns:
            yield Block(stack, tuple(sorted(columns[stack], key=lambda it: (it.made[0], -it.made[1], it.right))))


def read(paths: Iterable[Path]) -> dict[str, Orders]:
    """The irreps of each leaf that paths read."""
    found: dict[str, set[Irrep]] = {}
    for path in paths:
        for leaf in path.leaves:
            found.setdefault(leaf.name, set()).add(leaf.irrep)
    return {name: frozenset(irreps) for name, irreps in found.items()}
