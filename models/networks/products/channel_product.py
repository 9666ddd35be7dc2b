"""The tensor product of features with an edge's harmonics, channel by channel, with weights for every edge."""

from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module


class EdgePath(NamedTuple):
    """The coupling of one input irrep with one harmonic to one irrep."""

    source: int
    """Index of the term in `irreps_in`."""
    harmonic: int
    """l of the harmonic."""
    mul: int
    """Channels."""
    ir: o3.Irrep
    """The resulting irrep."""


class ChannelProduct(Module):
    """Couple features with harmonics on every edge, weighting each path and channel:

        out_{path,u,m} = w_{path,u} √(2l+1) Σ_{m₁m₂} C^{l₁ l₂ l}_{m₁ m₂ m} x_{u,m₁} Y_{l₂,m₂}.

    Every path keeps its channels u (e3nn's 'uvu' mode), and C is `o3.wigner_3j`, so the result equals that of
    `o3.TensorProduct`. That module runs several operations for each path. Here there are three for each input irrep:
    all its paths together are one matrix for each edge, Σ_{m₂} C Y_{m₂}, that its features are multiplied with.

    :param irreps_in: features of each edge, sorted.
    :param lmax: largest l of the harmonics.
    :param irreps_kept: irreps wanted; paths to others are left out.
    """

    def __init__(self, irreps_in: o3.Irreps, lmax: int, irreps_kept: o3.Irreps) -> None:
        super().__init__()
        self.irreps_in = irreps_in
        self.irreps_edge = o3.Irreps.spherical_harmonics(lmax)
        self.paths = [
            EdgePath(source, harmonic.ir.l, mul, ir)
            for source, (mul, ir_in) in enumerate(irreps_in)
            for harmonic in self.irreps_edge
            for ir in ir_in * harmonic.ir
            if ir in irreps_kept
        ]
        # The output in e3nn's layout: paths sorted by their resulting irrep.
        self.order = sorted(range(len(self.paths)), key=lambda k: (self.paths[k].ir, k))
        self.irreps_out = o3.Irreps([(self.paths[k].mul, self.paths[k].ir) for k in self.order])
        self.weight_numel = sum(path.mul for path in self.paths)
        self.groups = [[path for path in self.paths if path.source == source] for source in range(len(irreps_in))]
        # Plain numbers for `forward`: torch.compile cannot trace irreps.
        self.shapes = [(mul, ir.dim) for mul, ir in irreps_in]
        self.sizes = [mul_ir.dim for mul_ir in irreps_in]
        self.weight_sizes = [mul * len(group) for group, (mul, _) in zip(self.groups, irreps_in, strict=True)]
        self.widths = [[path.ir.dim for path in group] for group in self.groups]
        for source, (group, (_, ir_in)) in enumerate(zip(self.groups, irreps_in, strict=True)):
            widths = torch.tensor([path.ir.dim for path in group], dtype=torch.long)
            coupling = torch.zeros(self.irreps_edge.dim, ir_in.dim, int(widths.sum()))
            first = 0
            for path in group:
                # wigner_3j has norm 1, so each of its 2l+1 output components has a squared norm of 1/(2l+1); the factor
                # gives components of unit variance for inputs of unit variance.
                block = o3.wigner_3j(ir_in.l, path.harmonic, path.ir.l) * path.ir.dim**0.5
                harmonic = slice(path.harmonic**2, (path.harmonic + 1) ** 2)
                coupling[harmonic, :, first : first + path.ir.dim] = block.transpose(0, 1)
                first += path.ir.dim
            # spread[p, c] = 1 where column c belongs to path p: multiplying by it repeats a weight over components.
            spread = torch.eye(len(group)).repeat_interleave(widths, dim=1)
            self.register_buffer(f"coupling{source}", coupling.flatten(1), persistent=False)
            self.register_buffer(f"spread{source}", spread, persistent=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} x {self.irreps_edge} -> {self.irreps_out.simplify()})"

    def forward(self, features: Tensor, harmonics: Tensor, weights: Tensor) -> list[Tensor]:
        """Compute all paths; the layout is by input irrep, and `arrange` brings it into e3nn's.

        Sums over edges commute with `arrange`, so it is cheaper to sum first: there are more edges than atoms.

        :param features: (edges, irreps_in.dim).
        :param harmonics: (edges, (lmax+1)²).
        :param weights: (edges, weight_numel), by input irrep, channel and path.
        :returns: for each input irrep, (edges, mul, components of all its paths).
        """
        edges = len(harmonics)
        parts = zip(features.split(self.sizes, dim=1), weights.split(self.weight_sizes, dim=1), strict=True)
        outputs = []
        for source, ((x, weight), (mul, dim)) in enumerate(zip(parts, self.shapes, strict=True)):
            coupling, spread = getattr(self, f"coupling{source}"), getattr(self, f"spread{source}")
            # (mul, dim) times (dim, components of all paths) on each edge: the paths of one input share its features.
            matrix = (harmonics @ coupling).reshape(edges, dim, spread.shape[1])
            product = torch.bmm(x.reshape(edges, mul, dim), matrix)
            outputs.append(product * (weight.reshape(edges, mul, len(spread)) @ spread))
        return outputs

    def arrange(self, outputs: list[Tensor]) -> Tensor:
        """Bring the tensors of `forward`, or sums of their rows, into e3nn's layout.

        :param outputs: for each input irrep, (rows, mul, components of all its paths).
        :returns: (rows, irreps_out.dim).
        """
        pieces: list[Tensor] = []
        for output, widths in zip(outputs, self.widths, strict=True):
            pieces += output.split(widths, dim=2) if widths else []
        return torch.cat([pieces[k].flatten(1) for k in self.order], dim=1)
