"""Clebsch-Gordan products of an atom's features along the trees of fusion diagrams, channel by channel."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.irreps import irrep_set
from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.path import Path
from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.models.networks.products.fused.path_product import PathPlan, Result, path_product, plan_nodes
from tesseral.models.networks.products.fusion_plan import Spread, Stack, plan
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import Tree, leaf_names


class FusionProduct(Module):
    """Evaluate every path of one fusion tree or several, for each atom and channel u. A path of one vertex is

        out_{u,m} = √(2l+1) Σ_{m₁m₂} C^{l₁ l₂ l}_{m₁ m₂ m} x_{u,m₁} y_{u,m₂},

    and each further vertex couples its two results in the same way. C is `o3.wigner_3j`, and the factor √(2l+1) gives
    components of unit variance for independent inputs of unit variance. Vertices that several paths share are computed
    once. There are no weights.

    :param trees: a tree, or several; the name of a single leaf stands for its features unchanged.
    :param leaves: irreps of the features of each leaf, `channels` of each irrep; names outside the trees are ignored.
    :param roots: irreps wanted at the root, whatever their multiplicities.
    :param channels: number of channels of every irrep.
    :param k_max: largest l on internal edges; None sets no limit.
    :raises TesseralError: if a leaf has an irrep twice, or a multiplicity other than `channels`.
    """

    def __init__(
        self,
        trees: Tree | str | Iterable[Tree | str],
        leaves: Mapping[str, o3.Irreps],
        roots: o3.Irreps,
        channels: int,
        k_max: int | None = None,
    ) -> None:
        super().__init__()
        trees = [trees] if isinstance(trees, Tree | str) else list(trees)
        names = sorted({name for tree in trees for name in leaf_names(tree)})
        self.irreps_leaves = {name: o3.Irreps(leaves[name]) for name in names}
        self.channels = channels
        for name, irreps in self.irreps_leaves.items():
            if len(irrep_set(irreps)) < len(irreps) or any(mul != channels for mul, _ in irreps):
                raise TesseralError(f"expected {channels} of each irrep of the leaf {name!r}, each once, got {irreps}")
        entering = {name: irrep_set(irreps) for name, irreps in self.irreps_leaves.items()}
        self.plan = plan(path for tree in trees for path in paths(tree, entering, irrep_set(o3.Irreps(roots)), k_max))
        self.irreps_out = o3.Irreps([(channels * len(to_irrep), irrep) for irrep, to_irrep in self.paths.items()])
        for number, spread in enumerate(self.plan.spreads):
            self.register_buffer(f"coupling{number}", _coupling(spread), persistent=False)
        self.backend = "portable"
        self.program = self._program() if self.plan.spreads else ""
        # Plain numbers for `forward`: torch.compile cannot trace irreps.
        self._inputs = {
            name: [Stack(name, (ir.l, ir.p)) for _, ir in irreps] for name, irreps in self.irreps_leaves.items()
        }
        # The paths to one irrep may be some nodes of a stack; where they are all of it, an empty list saves the copy.
        self._outputs = [
            [(stack, [] if at == list(range(len(self.plan.stacks[stack]))) else at) for stack, at in stacks]
            for stacks in self.plan.outputs
        ]
        self._chosen: dict[Stack, str] = {}
        for number, stack in enumerate(self.plan.vertices):
            positions, number_of_pairs = self.plan.positions(stack)
            if positions != list(range(number_of_pairs)):
                self._chosen[stack] = f"chosen{number}"
                self.register_buffer(f"chosen{number}", torch.tensor(positions), persistent=False)

    @property
    def paths(self) -> dict[Irrep, tuple[Path, ...]]:
        """The paths to each irrep, in canonical order."""
        return self.plan.roots

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{', '.join(f'{name} {irreps}' for name, irreps in self.irreps_leaves.items())} -> {self.irreps_out}"

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Evaluate the paths.

        :param features: for each leaf, (atoms, irreps.dim).
        :returns: (atoms, irreps_out.dim); for each irrep (channels, paths, 2l+1), its paths in the order of `paths`.
        """
        if self.backend == "fused" and self.program and not torch.compiler.is_compiling():
            entering = [features[name] for name in self.irreps_leaves]
            empty = entering[0].new_empty(0)
            return path_product(self.program, entering, empty.long(), empty)
        atoms = next(iter(features.values())).shape[0]
        stacks = self._leaves(features, atoms)
        pieces: dict[Stack, list[Tensor]] = defaultdict(list)

        def nodes(stack: Stack) -> Tensor:
            if stack not in stacks:
                pairs = torch.cat(pieces.pop(stack), dim=1)
                stacks[stack] = (
                    pairs.index_select(1, getattr(self, self._chosen[stack])) if stack in self._chosen else pairs
                )
            return stacks[stack]

        for number, spread in enumerate(self.plan.spreads):
            right = torch.cat([nodes(stack) for stack in spread.right], dim=2)
            rows, others, width = right.shape
            matrices = right.reshape(rows * others, width) @ getattr(self, f"coupling{number}")
            sizes = [block.left.dim * block.width for block in spread.blocks]
            for block, matrix in zip(spread.blocks, matrices.split(sizes, dim=1), strict=True):
                # All right nodes as columns beside each other: one product for each left stack, whatever its paths.
                matrix = matrix.reshape(rows, others, block.left.dim, block.width).transpose(1, 2)
                left = nodes(block.left)
                products = torch.bmm(left, matrix.reshape(rows, block.left.dim, others * block.width))
                products = products.reshape(rows, left.shape[1] * others, block.width)
                parts = products.split([column.dim for column in block.columns], dim=2)
                for column, part in zip(block.columns, parts, strict=True):
                    pieces[Stack(spread.shape, column.result)].append(part)
        outputs = [
            torch.cat([nodes(stack)[:, chosen] if chosen else nodes(stack) for stack, chosen in chosen_of], dim=1)
            for chosen_of in self._outputs
        ]
        if not outputs:
            return next(iter(features.values())).new_zeros(atoms, 0)
        return torch.cat(
            [output.reshape(atoms, self.channels * output.shape[1] * output.shape[2]) for output in outputs], dim=1
        )

    def _program(self) -> str:
        """What one operation computes: `PathPlan.text`."""
        leaves, vertices, numbers = plan_nodes((path for of in self.paths.values() for path in of), self.irreps_leaves)
        results: list[Result] = []
        offset = 0
        for irrep, of in self.paths.items():
            dim = 2 * irrep[0] + 1
            results += [Result(numbers[path], offset + dim * n, len(of) * dim, 1) for n, path in enumerate(of)]
            offset += self.channels * len(of) * dim
        return PathPlan(self.channels, leaves, vertices, [], results, offset).text()

    def _leaves(self, features: Mapping[str, Tensor], atoms: int) -> dict[Stack, Tensor]:
        """The features of each irrep of each leaf as a stack of one node, (rows, 1, 2l+1)."""
        stacks = {}
        for name, of_leaf in self._inputs.items():
            parts = features[name].split([self.channels * stack.dim for stack in of_leaf], dim=1)
            for stack, part in zip(of_leaf, parts, strict=True):
                stacks[stack] = part.reshape(atoms * self.channels, 1, stack.dim)
        return stacks


def _coupling(spread: Spread) -> Tensor:
    """The coefficients √(2l+1) C of a spread, (right components, left components × columns of every block)."""
    first, total = {}, 0
    for stack in spread.right:
        first[stack.irrep] = total
        total += stack.dim
    matrices = []
    for block in spread.blocks:
        matrix = torch.zeros(total, block.left.dim, block.width)
        column = 0
        for coupling in block.columns:
            l1, l2, l3 = block.left.irrep[0], coupling.right[0], coupling.result[0]
            # wigner_3j has norm 1: √(2l+1) gives unit variance, as in `ChannelProduct`. Its first axis is that of the
            # left factor, while a row here is a component of the right one.
            coefficients = o3.wigner_3j(l1, l2, l3) * coupling.dim**0.5
            rows = slice(first[coupling.right], first[coupling.right] + 2 * l2 + 1)
            matrix[rows, :, column : column + coupling.dim] = coefficients.transpose(0, 1)
            column += coupling.dim
        matrices.append(matrix.flatten(1))
    return torch.cat(matrices, dim=1)
