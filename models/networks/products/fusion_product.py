"""The product of fusion diagrams: Clebsch-Gordan products of an atom's features, along trees, channel by channel."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.paths.fusion_paths import Path, paths
from tesseral.models.networks.paths.selection_rules import Irrep, Orders
from tesseral.models.networks.products.fusion_plan import Spread, Stack, plan
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import Tree, leaf_names


class FusionProduct(Module):
    """Every path of one tree or several, for each atom and each channel u,

        out_{path,u} = … √(2k+1) Σ C^{l₁ l₂ k}_{m₁ m₂ q} x_{u,m₁} y_{u,m₂} …,

    with a factor √(2l+1) C at each vertex, C being `o3.wigner_3j`: of independent inputs with unit variance, components
    of unit variance. A vertex that several paths share is made once. There are no weights.

    :param trees: a tree, or several; the name of a leaf alone stands for its features as they are.
    :param leaves: the features that each leaf stands for: irreps, of each `channels`; other names are not read.
    :param roots: irreps wanted of the root; their multiplicities do not count.
    :param k_max: largest l of internal edges; not limited if None.
    :raises TesseralError: if a leaf has an irrep twice, or not as many of each as there are channels.
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
            if len(orders(irreps)) < len(irreps) or any(mul != channels for mul, _ in irreps):
                raise TesseralError(f"expected {channels} of each irrep of the leaf {name!r}, each once, got {irreps}")
        asked = {name: orders(irreps) for name, irreps in self.irreps_leaves.items()}
        self.plan = plan(path for tree in trees for path in paths(tree, asked, orders(o3.Irreps(roots)), k_max))
        self.irreps_out = o3.Irreps([(channels * len(found), irrep) for irrep, found in self.paths.items()])
        for number, spread in enumerate(self.plan.spreads):
            self.register_buffer(f"coupling{number}", _coupling(spread), persistent=False)
        # Irreps are not read in `forward`: torch.compile cannot trace them.
        self._inputs = {
            name: [Stack(name, (ir.l, ir.p)) for _, ir in irreps] for name, irreps in self.irreps_leaves.items()
        }
        # Roots of several trees may lie in one stack; where they are all of it, it is not copied.
        self._outputs = [
            [(stack, [] if at == list(range(len(self.plan.stacks[stack]))) else at) for stack, at in found]
            for found in self.plan.outputs
        ]
        self._chosen: dict[Stack, str] = {}
        for number, stack in enumerate(self.plan.vertices):
            positions, made = self.plan.positions(stack)
            if positions != list(range(made)):
                self._chosen[stack] = f"chosen{number}"
                self.register_buffer(f"chosen{number}", torch.tensor(positions), persistent=False)

    @property
    def paths(self) -> dict[Irrep, tuple[Path, ...]]:
        """By the irrep of their root, in canonical order."""
        return self.plan.roots

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{', '.join(f'{name} {irreps}' for name, irreps in self.irreps_leaves.items())} -> {self.irreps_out}"

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(atoms, irreps_out.dim): of each irrep (channels, paths, 2l+1), its paths in the order of `paths`.

        :param features: of each leaf, (atoms, irreps.dim).
        """
        atoms = len(next(iter(features.values())))
        stacks = self._leaves(features, atoms)
        pieces: dict[Stack, list[Tensor]] = defaultdict(list)

        def nodes(stack: Stack) -> Tensor:
            if stack not in stacks:
                made = torch.cat(pieces.pop(stack), dim=1)
                stacks[stack] = (
                    made.index_select(1, getattr(self, self._chosen[stack])) if stack in self._chosen else made
                )
            return stacks[stack]

        for number, spread in enumerate(self.plan.spreads):
            right = torch.cat([nodes(stack) for stack in spread.right], dim=2)
            rows, others, width = right.shape
            matrices = right.reshape(rows * others, width) @ getattr(self, f"coupling{number}")
            sizes = [block.left.dim * block.width for block in spread.blocks]
            for block, matrix in zip(spread.blocks, matrices.split(sizes, dim=1), strict=True):
                matrix = matrix.reshape(rows, others, block.left.dim, block.width).transpose(1, 2)
                left = nodes(block.left)
                made = torch.bmm(left, matrix.reshape(rows, block.left.dim, others * block.width))
                made = made.reshape(rows, left.shape[1] * others, block.width)
                parts = made.split([column.dim for column in block.columns], dim=2)
                for column, part in zip(block.columns, parts, strict=True):
                    pieces[Stack(spread.shape, column.made)].append(part)
        outputs = [
            torch.cat([nodes(stack)[:, chosen] if chosen else nodes(stack) for stack, chosen in found], dim=1)
            for found in self._outputs
        ]
        if not outputs:
            return next(iter(features.values())).new_zeros(atoms, 0)
        return torch.cat(
            [made.reshape(atoms, self.channels * made.shape[1] * made.shape[2]) for made in outputs], dim=1
        )

    def _leaves(self, features: Mapping[str, Tensor], atoms: int) -> dict[Stack, Tensor]:
        """(rows, 1, 2l+1) of each irrep of each leaf."""
        stacks = {}
        for name, found in self._inputs.items():
            parts = features[name].split([self.channels * stack.dim for stack in found], dim=1)
            for stack, part in zip(found, parts, strict=True):
                stacks[stack] = part.reshape(atoms * self.channels, 1, stack.dim)
        return stacks


def orders(irreps: o3.Irreps) -> Orders:
    """The set of (l, p)."""
    return frozenset((ir.l, ir.p) for _, ir in irreps)


def _coupling(spread: Spread) -> Tensor:
    """(components on the right, columns): √(2l+1) C of every block, (left component, column) by (right component)."""
    first, total = {}, 0
    for stack in spread.right:
        first[stack.irrep] = total
        total += stack.dim
    matrices = []
    for block in spread.blocks:
        matrix = torch.zeros(total, block.left.dim, block.width)
        column = 0
        for one in block.columns:
            coefficients = o3.wigner_3j(block.left.irrep[0], one.right[0], one.made[0]) * one.dim**0.5
            rows = slice(first[one.right], first[one.right] + 2 * one.right[0] + 1)
            matrix[rows, :, column : column + one.dim] = coefficients.transpose(0, 1)
            column += one.dim
        matrices.append(matrix.flatten(1))
    return torch.cat(matrices, dim=1)
