"""The symmetric contraction of MACE (Batatia et al., arXiv 2206.07697): equivariant powers of each channel."""

from collections import Counter

import numpy as np
import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, Parameter, ParameterList

from tesseral.models.networks.paths.fusion_paths import Path
from tesseral.models.networks.paths.selection_rules import Irrep
from tesseral.models.networks.products.contraction_plan import contraction_plan


class SymmetricContraction(Module):
    """out_{c,L} = Σ_{n=1..ν} Σ_paths w[path, c, z] path(A_c, …, A_c)/√(N P_n) for an atom of element z.

    The paths are those of the left comb of n equal leaves (`tesseral.models.networks.paths.fusion_paths`), an
    independent set: as many as L has copies in Symⁿ of one channel. Each has a second moment of 1 for independent
    normal components of variance 1; P_n of them have degree n, N degrees have any, and weights begin normal of variance
    1. So, for such inputs, outputs have a second moment of 1, and every degree an equal part of it.

    A path is a polynomial of one channel's components: outputs are a matrix times all monomials of them. The weights
    enter the matrix before it meets an atom, and then it has as many rows as there are outputs, however many paths.

    :param irreps_in: features of each atom, C of each irrep.
    :param irreps_out: what is made of them, C of each; an irrep to which no path leads is zero.
    :param correlation: ν.
    :param elements: length of the one-hot of z.
    """

    first: Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, *, correlation: int, elements: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = o3.Irreps(irreps_in), o3.Irreps(irreps_out)
        self.correlation, self.elements = correlation, elements
        (self.channels,) = {mul for mul, _ in self.irreps_in + self.irreps_out}
        self.dims_in, self.dims_out = ([ir.dim for _, ir in irreps] for irreps in (self.irreps_in, self.irreps_out))
        plan = contraction_plan(_orders(self.irreps_in), _orders(self.irreps_out), correlation)
        self.paths = [root.paths for root in plan.roots]
        self.weights = ParameterList(Parameter(torch.randn(len(p), self.channels, elements)) for p in self.paths)
        # Of every root and each of its blocks, the number of paths.
        self.blocks = [[block.paths for block in root.blocks] for root in plan.roots]
        for number, root in enumerate(plan.roots):
            scales = iter(_scales(root.paths))
            for block, (paths, coefficients) in enumerate(root.blocks):
                scaled = coefficients * np.fromiter(scales, float, paths)[:, None, None]
                coupling = torch.tensor(scaled, dtype=torch.get_default_dtype()).flatten(1)
                self.register_buffer(f"coupling{number}_{block}", coupling, persistent=False)
        # Even outputs are made of even monomials, odd ones of odd monomials.
        self.even = [basis.even for basis in plan.bases]
        self.roots = {p: [k for k, (_, ir) in enumerate(self.irreps_out) if ir.p == p] for p in (1, -1)}
        # The monomials of one degree from those of the degree below.
        for degree in range(2, correlation + 1):
            factors = plan.bases[degree - 1].factors
            prefix = torch.from_numpy(plan.bases[degree - 2].find(factors[:, :-1]))
            last = torch.from_numpy(plan.bases[0].find(factors[:, -1:]))
            self.register_buffer(f"prefix{degree}", prefix, persistent=False)
            self.register_buffer(f"last{degree}", last, persistent=False)
        self.register_buffer("first", torch.from_numpy(plan.bases[0].factors[:, 0]), persistent=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, correlation {self.correlation})"

    def forward(self, features: Tensor, elements: Tensor) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim).

        :param elements: (atoms, elements), one-hot.
        """
        atoms = len(features)
        made: dict[int, Tensor] = {}
        powers = self._powers(features)
        for parity, roots in self.roots.items():
            if not roots:
                continue
            half = [power[:even] if parity > 0 else power[even:] for power, even in zip(powers, self.even, strict=True)]
            basis = torch.cat(half).transpose(0, 1)  # (channels, monomials, atoms)
            dims = [self.dims_out[root] for root in roots]
            matrix = torch.cat([self._matrix(root) for root in roots], dim=2)
            outputs = torch.bmm(matrix.flatten(1, 2), basis).reshape(self.channels, self.elements, sum(dims), atoms)
            outputs = (outputs * elements.T[None, :, None, :]).sum(dim=1)
            made |= dict(zip(roots, outputs.split(dims, dim=1), strict=True))
        return torch.cat([made[root].permute(2, 0, 1).flatten(1) for root in range(len(self.dims_out))], dim=1)

    def _powers(self, features: Tensor) -> list[Tensor]:
        """By degree (monomials, channels, atoms)."""
        parts = features.split([self.channels * dim for dim in self.dims_in], dim=1)
        split = [
            part.reshape(-1, self.channels, dim).permute(2, 1, 0) for part, dim in zip(parts, self.dims_in, strict=True)
        ]
        powers = [torch.cat(split).index_select(0, self.first)]
        for degree in range(2, self.correlation + 1):
            prefix, last = getattr(self, f"prefix{degree}"), getattr(self, f"last{degree}")
            powers.append(powers[-1].index_select(0, prefix) * powers[0].index_select(0, last))
        return powers

    def _matrix(self, root: int) -> Tensor:
        """(channels, elements, 2L+1, monomials of its parity), the weights in it."""
        weights = self.weights[root].flatten(1).T.split(self.blocks[root], dim=1)
        blocks = [weight @ getattr(self, f"coupling{root}_{block}") for block, weight in enumerate(weights)]
        shape = self.channels, self.elements, self.dims_out[root], -1
        return torch.cat([block.reshape(shape) for block in blocks], dim=3)


def _scales(paths: tuple[Path, ...]) -> list[float]:
    """1/√(N P_n) of each path, N being how many degrees n there are, and P_n how many paths of that degree."""
    numbers = Counter(len(path.leaves) for path in paths)
    return [(len(numbers) * numbers[len(path.leaves)]) ** -0.5 for path in paths]


def _orders(irreps: o3.Irreps) -> tuple[Irrep, ...]:
    """Their (l, p)."""
    return tuple((ir.l, ir.p) for _, ir in irreps)
