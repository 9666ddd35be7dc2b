"""The tensor product of neighbours' features with edges' harmonics, summed over the edges of each atom.

One contract, three ways to compute it (`BACKENDS`). All have the same weights, and agree up to rounding.
"""

import json
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.products.fused.autograd import couple
from tesseral.models.networks.products.fused.convolution import EdgeWeights
from tesseral.models.networks.products.fused.coupling import entries
from tesseral.models.networks.products.layout import from_blocks, to_blocks
from tesseral.models.networks.seeding import initialising

BACKENDS = ("reference", "portable", "fused")
"""`reference`: e3nn's own module. `portable`: PyTorch's matrix products, on any device. `fused`: a C++ operator for
CPUs, on graphs that know the reverse of each edge; on others `portable` stands in."""


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
    """Couple neighbours' features with the harmonics of their edges, weighting each path and channel, and add up:

        out_{i,path,u,m} = Σ_j w_{ij,path,u} √(2l+1) Σ_{m₁m₂} C^{l₁ l₂ l}_{m₁ m₂ m} x_{j,u,m₁} Y_{l₂,m₂}(r_ij).

    Every path keeps its channels u (e3nn's 'uvu' mode), and C is `o3.wigner_3j`, so the result is that of
    `o3.TensorProduct`, summed; weights have its order, by path, then channel. Features stand in blocks
    (`tesseral.models.networks.products.layout`).

    :param irreps_in: features of each atom, sorted.
    :param lmax: largest l of the harmonics.
    :param irreps_kept: irreps wanted; paths to others are left out.
    """

    entries: Tensor

    def __init__(self, irreps_in: o3.Irreps, lmax: int, irreps_kept: o3.Irreps) -> None:
        super().__init__()
        self.backend = "portable"
        self.seen: list[EdgeWeights] | None = None
        """Takes the weights of edges that a whole convolution computes; set by who looks at them."""
        self.irreps_in = irreps_in
        self.irreps_edge = o3.Irreps.spherical_harmonics(lmax)
        self.paths = [
            EdgePath(source, harmonic.ir.l, mul, ir)
            for source, (mul, ir_in) in enumerate(irreps_in)
            for harmonic in self.irreps_edge
            for ir in ir_in * harmonic.ir
            if ir in irreps_kept
        ]
        # The output: a block for each irrep, with the channels of all its paths.
        self.order = sorted(range(len(self.paths)), key=lambda k: (self.paths[k].ir, k))
        self.blocks = [list(members) for _, members in groupby(self.order, key=lambda k: self.paths[k].ir)]
        self.irreps_out = o3.Irreps(
            [(sum(self.paths[k].mul for k in members), self.paths[members[0]].ir) for members in self.blocks]
        )
        self.weight_numel = sum(path.mul for path in self.paths)
        self.groups = [[path for path in self.paths if path.source == source] for source in range(len(irreps_in))]
        # Plain numbers for `forward`: torch.compile cannot trace irreps.
        self.shapes = [(mul, ir.dim) for mul, ir in irreps_in]
        self.weight_sizes = [mul * len(group) for group, (mul, _) in zip(self.groups, irreps_in, strict=True)]
        self.widths = [[path.ir.dim for path in group] for group in self.groups]
        for source, (group, (_, ir_in)) in enumerate(zip(self.groups, irreps_in, strict=True)):
            widths = torch.tensor([path.ir.dim for path in group], dtype=torch.long)
            coupling = torch.zeros(self.irreps_edge.dim, int(widths.sum()), ir_in.dim)
            first = 0
            for path in group:
                # wigner_3j has norm 1, so each of its 2l+1 output components has a squared norm of 1/(2l+1); the factor
                # gives components of unit variance for inputs of unit variance.
                block = o3.wigner_3j(ir_in.l, path.harmonic, path.ir.l) * path.ir.dim**0.5
                harmonic = slice(path.harmonic**2, (path.harmonic + 1) ** 2)
                coupling[harmonic, first : first + path.ir.dim] = block.permute(1, 2, 0)
                first += path.ir.dim
            # spread[c, p] = 1 where component c belongs to path p: multiplying by it repeats a weight over components.
            spread = torch.eye(len(group)).repeat_interleave(widths, dim=0)
            self.register_buffer(f"coupling{source}", coupling.flatten(1), persistent=False)
            self.register_buffer(f"spread{source}", spread, persistent=False)
        self.plan, triples = self._plan()
        self.register_buffer("entries", entries(triples, self.irreps_edge.dim), persistent=False)
        self._stock: list[o3.TensorProduct] = []  # a list hides it from the state dict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} x {self.irreps_edge} -> {self.irreps_out})"

    def forward(
        self,
        features: list[Tensor],
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        destination: Tensor,
        reverse: Tensor,
    ) -> list[Tensor]:
        """Couple the features that each edge sends, and add them up where it leads.

        :param features: for each input irrep, (atoms, 2l+1, channels).
        :param harmonics: (edges, (lmax+1)²).
        :param weights: (edges, weight_numel), by path, then channel; of `fused` also (edges/2, weight_numel), a row for
            each edge and its reverse.
        :param source: as in `tesseral.models.networks.graph.Graph`, like `destination` and `reverse`.
        :returns: for each irrep of `irreps_out`, (atoms, 2l+1, channels).
        """
        if self.backend == "fused" and len(reverse) == len(source):
            return couple(features, harmonics @ self.entries, weights, source, destination, reverse, self.plan)
        compute: Callable[..., list[Tensor]] = self._reference if self.backend == "reference" else self._portable
        return compute(features, harmonics, weights, source, destination)

    def _portable(
        self, features: list[Tensor], harmonics: Tensor, weights: Tensor, source: Tensor, destination: Tensor
    ) -> list[Tensor]:
        edges = harmonics.shape[0]
        pieces: list[Tensor] = []
        parts = zip(features, weights.split(self.weight_sizes, dim=1), self.shapes, self.widths, strict=True)
        for number, (x, weight, (mul, dim), widths) in enumerate(parts):
            coupling, spread = getattr(self, f"coupling{number}"), getattr(self, f"spread{number}")
            # (components of all paths, dim) times (dim, mul) on each edge: the paths of one input share its features.
            matrix = (harmonics @ coupling).reshape(edges, len(spread), dim)
            product = torch.bmm(matrix, x.index_select(0, source))
            messages = product * (spread @ weight.reshape(edges, len(widths), mul))
            sums = messages.new_zeros(x.shape[0], len(spread), mul).index_add(0, destination, messages)
            pieces += sums.split(widths, dim=1) if widths else []
        return [torch.cat([pieces[k] for k in members], dim=2) for members in self.blocks]

    def _reference(
        self, features: list[Tensor], harmonics: Tensor, weights: Tensor, source: Tensor, destination: Tensor
    ) -> list[Tensor]:
        if not self._stock:
            with initialising(0):  # in float64: coefficients are as precise as the dtype they are made in
                self._stock.append(self.stock().to(weights.device, weights.dtype))
        messages = self._stock[0](from_blocks(features).index_select(0, source), harmonics, weights)
        sums = messages.new_zeros(features[0].shape[0], messages.shape[1]).index_add(0, destination, messages)
        pieces = to_blocks(sums, [(self.paths[k].mul, self.paths[k].ir.dim) for k in self.order])
        ends = iter(pieces)
        return [torch.cat([next(ends) for _ in members], dim=2) for members in self.blocks]

    def drawn(self) -> Tensor:
        """For each weight, its place in the order by term, channel and path, in which initial weights are drawn."""
        places, first = [torch.zeros(0, dtype=torch.long)], 0
        for (mul, _), group in zip(self.shapes, self.groups, strict=True):
            places.append(first + torch.arange(mul * len(group)).reshape(mul, len(group)).T.flatten())
            first += mul * len(group)
        return torch.cat(places)

    def stock(self) -> o3.TensorProduct:
        """e3nn's product with the same paths and weights; its output has a term for each path, sorted by irrep."""
        place = {k: slot for slot, k in enumerate(self.order)}
        return o3.TensorProduct(
            self.irreps_in,
            self.irreps_edge,
            [(self.paths[k].mul, self.paths[k].ir) for k in self.order],
            [(path.source, path.harmonic, place[k], "uvu", True) for k, path in enumerate(self.paths)],
            internal_weights=False,
            shared_weights=False,
        )

    def _plan(self) -> tuple[str, list[tuple[int, int, int]]]:
        """What the fused operator is told, and the triples (l₁, l₂, l) whose couplings it is given."""
        triples = sorted({(self.irreps_in[p.source].ir.l, p.harmonic, p.ir.l) for p in self.paths})
        columns: dict[int, tuple[int, int]] = {}
        for number, members in enumerate(self.blocks):
            first = 0
            for k in members:
                columns[k] = (number, first)
                first += self.paths[k].mul
        paths, weight = [], 0
        for k, path in enumerate(self.paths):
            triple = (self.irreps_in[path.source].ir.l, path.harmonic, path.ir.l)
            paths.append([*triple, path.source, *columns[k], path.mul, weight])
            weight += path.mul
        terms = [(ir.dim, mul) for mul, ir in self.irreps_in]
        blocks = [(ir.dim, mul) for mul, ir in self.irreps_out]
        return json.dumps({"terms": terms, "blocks": blocks, "paths": paths}), triples
