"""The symmetric contraction of MACE (Batatia et al., arXiv 2206.07697): equivariant powers of each channel."""

from collections import Counter

import numpy as np
import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, Parameter, ParameterList

from tesseral.models.networks.irreps import irrep_tuple
from tesseral.models.networks.paths.path import Path
from tesseral.models.networks.products.contraction_plan import contraction_plan
from tesseral.models.networks.products.fused.path_product import PathPlan, Result, path_product, plan_nodes


class SymmetricContraction(Module):
    """Contract the symmetric powers of each channel to irreps, with weights for each element. For an atom of element z,

        out_{c,L} = Σ_{n=1..ν} Σ_paths w[path, c, z] path(A_c, …, A_c) / √(N P_n).

    The paths are an independent set, those of the left comb of n equal leaves (`products.contraction_plan`): as many as
    L has copies in Symⁿ of one channel. They span the same space as MACE's own contraction.

    Normalisation: each path has a second moment of 1 for independent standard normal components, P_n paths have degree
    n, N degrees have any path, and weights start as standard normal. So outputs have a second moment of 1, of which
    every degree contributes an equal share.

    A path is a polynomial of one channel's components, so outputs are a matrix times all monomials. Weights are applied
    to the matrix, before it meets an atom: it then has a row for each output component, however many paths there are.

    :param irreps_in: features of each atom, C channels of each irrep.
    :param irreps_out: C channels of each irrep; an irrep that no path leads to is zero.
    :param correlation: ν, the highest degree.
    :param elements: number of elements, the length of the one-hot of z.
    """

    first: Tensor
    scales: Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, *, correlation: int, elements: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = o3.Irreps(irreps_in), o3.Irreps(irreps_out)
        self.correlation, self.elements = correlation, elements
        # Channel c of the input makes channel c of the output: both sides have one number of channels, or this raises.
        (self.channels,) = {mul for mul, _ in self.irreps_in + self.irreps_out}
        self.dims_in, self.dims_out = ([ir.dim for _, ir in irreps] for irreps in (self.irreps_in, self.irreps_out))
        plan = contraction_plan(irrep_tuple(self.irreps_in), irrep_tuple(self.irreps_out), correlation)
        self.paths = [root.paths for root in plan.roots]
        self.weights = ParameterList(Parameter(torch.randn(len(p), self.channels, elements)) for p in self.paths)
        # Number of paths of each block of each root.
        self.blocks = [[block.paths for block in root.blocks] for root in plan.roots]
        for number, root in enumerate(plan.roots):
            scales = iter(_scales(root.paths))
            for block, (paths, coefficients) in enumerate(root.blocks):
                scaled = coefficients * np.fromiter(scales, float, paths)[:, None, None]
                coupling = torch.tensor(scaled, dtype=torch.get_default_dtype()).flatten(1)
                self.register_buffer(f"coupling{number}_{block}", coupling, persistent=False)
        # Even outputs are combinations of even monomials, odd ones of odd monomials.
        self.even = [basis.even for basis in plan.bases]
        self.roots = {p: [k for k, (_, ir) in enumerate(self.irreps_out) if ir.p == p] for p in (1, -1)}
        # Monomials of degree n are products of a monomial of degree n−1 (prefix) and a component (last).
        for degree in range(2, correlation + 1):
            factors = plan.bases[degree - 1].factors
            prefix = torch.from_numpy(plan.bases[degree - 2].find(factors[:, :-1]))
            last = torch.from_numpy(plan.bases[0].find(factors[:, -1:]))
            self.register_buffer(f"prefix{degree}", prefix, persistent=False)
            self.register_buffer(f"last{degree}", last, persistent=False)
        self.backend = "portable"
        self.program = self._program()
        shares = [by * share for root in plan.roots for by, share in zip(root.scales, _scales(root.paths), strict=True)]
        self.register_buffer("scales", torch.tensor(shares)[:, None, None], persistent=False)
        self.register_buffer("first", torch.from_numpy(plan.bases[0].factors[:, 0]), persistent=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, correlation {self.correlation})"

    def forward(self, features: Tensor, elements: Tensor) -> Tensor:
        """Contract the features of every atom.

        :param features: (atoms, irreps_in.dim).
        :param elements: (atoms, elements), one-hot.
        :returns: (atoms, irreps_out.dim).
        """
        if self.backend == "fused" and not torch.compiler.is_compiling():
            weights = (torch.cat(list(self.weights)) * self.scales).permute(2, 0, 1)
            return path_product(self.program, [features], elements.argmax(dim=1), weights)
        atoms = features.shape[0]
        outputs: dict[int, Tensor] = {}
        powers = self._powers(features)
        for parity, roots in self.roots.items():
            if not roots:
                continue
            half = [power[:even] if parity > 0 else power[even:] for power, even in zip(powers, self.even, strict=True)]
            basis = torch.cat(half).transpose(0, 1)  # (channels, monomials, atoms)
            dims = [self.dims_out[root] for root in roots]
            matrix = torch.cat([self._matrix(root) for root in roots], dim=2)
            # Every element's matrix is applied to every atom, then the atom's own is selected: data sets have few
            # elements, and one large product takes the place of a gather of matrices.
            products = torch.bmm(matrix.flatten(1, 2), basis).reshape(self.channels, self.elements, sum(dims), atoms)
            selected = (products * elements.T[None, :, None, :]).sum(dim=1)
            outputs |= dict(zip(roots, selected.split(dims, dim=1), strict=True))
        # e3nn's layout of an irrep: channels outside, components inside.
        return torch.cat([outputs[root].permute(2, 0, 1).flatten(1) for root in range(len(self.dims_out))], dim=1)

    def _program(self) -> str:
        """What one operation computes: `PathPlan.text`."""
        leaves, vertices, numbers = plan_nodes((path for of in self.paths for path in of), {"x": self.irreps_in})
        first, ends = len(leaves) + len(vertices), self.irreps_out.slices()
        reached = [number for number, of in enumerate(self.paths) if of]
        return PathPlan(
            channels=self.channels,
            leaves=leaves,
            vertices=vertices,
            sums=[[numbers[path] for path in self.paths[number]] for number in reached],
            results=[Result(first + n, ends[k].start, self.dims_out[k], 1) for n, k in enumerate(reached)],
            width=self.irreps_out.dim,
        ).text()

    def _powers(self, features: Tensor) -> list[Tensor]:
        """All monomials of each degree, (monomials, channels, atoms)."""
        parts = features.split([self.channels * dim for dim in self.dims_in], dim=1)
        split = [
            part.reshape(-1, self.channels, dim).permute(2, 1, 0) for part, dim in zip(parts, self.dims_in, strict=True)
        ]
        # Monomials are the first axis: a parity is then a slice, and a gather copies whole rows of (channels, atoms).
        powers = [torch.cat(split).index_select(0, self.first)]
        for degree in range(2, self.correlation + 1):
            prefix, last = getattr(self, f"prefix{degree}"), getattr(self, f"last{degree}")
            powers.append(powers[-1].index_select(0, prefix) * powers[0].index_select(0, last))
        return powers

    def _matrix(self, root: int) -> Tensor:
        """The weighted coefficients of a root, (channels, elements, 2L+1, monomials of its parity)."""
        weights = self.weights[root].flatten(1).T.split(self.blocks[root], dim=1)
        blocks = [weight @ getattr(self, f"coupling{root}_{block}") for block, weight in enumerate(weights)]
        shape = self.channels, self.elements, self.dims_out[root], -1
        return torch.cat([block.reshape(shape) for block in blocks], dim=3)


def _scales(paths: tuple[Path, ...]) -> list[float]:
    """1/√(N P_n) for each path: P_n paths have its degree n, and N degrees have any path."""
    numbers = Counter(len(path.leaves) for path in paths)
    return [(len(numbers) * numbers[len(path.leaves)]) ** -0.5 for path in paths]
