"""The yardstick of layers that multiply features: the same network, its products written directly in e3nn.

Products of neighbours' features with harmonics and self-connections are e3nn's own (backend `reference`). Each tree of
Clebsch-Gordan products has an `o3.TensorProduct` for each of its vertices, with all paths in it. Linear maps are ours,
which are no slower than `o3.Linear`. `tests/benchmarks/steps.py` checks that outputs are equal.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from math import prod

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module, ModuleDict

from tesseral.models.networks.paths.path import Leaf, Path, Vertex
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.products.contraction_plan import _tensor
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.models.networks.products.monomials import monomials, polynomial, second_moment
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction


class DirectPaths(Module):
    """Evaluate paths with an `o3.TensorProduct` for each shape of their vertices.

    :param paths: to evaluate.
    :param channels: of every irrep.
    """

    def __init__(self, paths: Iterable[Path], channels: int) -> None:
        super().__init__()
        self.channels = channels
        vertices: dict[Vertex, None] = {}
        for path in paths:
            _collect(path, vertices)
        self.shapes: dict[str, tuple[list[Path], list[Path], list[Vertex]]] = {}
        self.products = ModuleDict()
        for shape in sorted({vertex.shape for vertex in vertices}, key=lambda shape: len(str(shape))):
            made = [vertex for vertex in vertices if vertex.shape == shape]
            left, right = (list(dict.fromkeys(getattr(v, side) for v in made)) for side in ("left", "right"))
            of, by, to = ([(channels, path.irrep) for path in parts] for parts in (left, right, made))
            instructions = [
                (left.index(vertex.left), right.index(vertex.right), number, "uuu", False)
                for number, vertex in enumerate(made)
            ]
            self.shapes[str(shape)] = left, right, made
            self.products[str(shape)] = o3.TensorProduct(o3.Irreps(of), o3.Irreps(by), o3.Irreps(to), instructions)

    def forward(self, leaves: Mapping[Path, Tensor]) -> dict[Path, Tensor]:
        """Each path and vertex, (atoms, channels · (2l+1)).

        :param leaves: features of each leaf.
        """
        known = dict(leaves)
        for shape, (left, right, made) in self.shapes.items():
            entering = (torch.cat([known[path] for path in parts], dim=1) for parts in (left, right))
            results = self.products[shape](*entering)
            known |= zip(made, results.split([self.channels * (2 * v.irrep[0] + 1) for v in made], dim=1), strict=True)
        return known


class DirectFusion(Module):
    """A `FusionProduct`."""

    def __init__(self, ours: FusionProduct) -> None:
        super().__init__()
        self.irreps_leaves, self.channels, self.ends = ours.irreps_leaves, ours.channels, ours.paths
        self.paths = DirectPaths([path for paths in ours.paths.values() for path in paths], ours.channels)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """As `FusionProduct.forward`."""
        leaves: dict[Path, Tensor] = {
            Leaf(name, (ir.l, ir.p)): features[name][:, part]
            for name, irreps in self.irreps_leaves.items()
            for (_, ir), part in zip(irreps, irreps.slices(), strict=True)
        }
        known = self.paths(leaves)
        parts = []
        for paths in self.ends.values():
            columns = [known[path].reshape(len(known[path]), self.channels, -1) for path in paths]
            parts.append(torch.stack(columns, dim=2).flatten(1))
        return torch.cat(parts, dim=1)


class DirectContraction(Module):
    """A `SymmetricContraction`, with its own weights."""

    def __init__(self, ours: SymmetricContraction) -> None:
        super().__init__()
        self.irreps_in, self.channels, self.weights, self.ends = ours.irreps_in, ours.channels, ours.weights, ours.paths
        self.paths = DirectPaths([path for paths in ours.paths for path in paths], ours.channels)
        irreps = [(ir.l, ir.p) for _, ir in ours.irreps_in]
        starts = dict(zip(irreps, [int(n) for n in _starts(irreps)], strict=True))
        for number, paths in enumerate(ours.paths):
            degrees = [len(path.leaves) for path in paths]
            scales = []
            for path, degree in zip(paths, degrees, strict=True):
                places = [starts[leaf.irrep] for leaf in path.leaves]
                basis = monomials(irreps, degree)
                moment = second_moment(polynomial(_tensor(path, {}), places, basis)[0], basis)
                roots = prod((2 * vertex.irrep[0] + 1) ** 0.5 for vertex in _collect(path, {}))
                scales.append((len(set(degrees)) * degrees.count(degree) * moment) ** -0.5 / roots)
            self.register_buffer(f"scales{number}", torch.tensor(scales))

    def forward(self, features: Tensor, elements: Tensor) -> Tensor:
        """As `SymmetricContraction.forward`."""
        parts = zip(self.irreps_in, self.irreps_in.slices(), strict=True)
        known = self.paths({Leaf("x", (ir.l, ir.p)): features[:, part] for (_, ir), part in parts})
        outputs = []
        for number, (paths, weights) in enumerate(zip(self.ends, self.weights, strict=True)):
            stacked = torch.stack([known[path].reshape(len(features), self.channels, -1) for path in paths])
            chosen = torch.einsum("pcz,az,p->pac", weights, elements, getattr(self, f"scales{number}"))
            outputs.append((chosen[..., None] * stacked).sum(dim=0).flatten(1))
        return torch.cat(outputs, dim=1)


def direct(network: Module) -> Module:
    """The same network with the same weights, its products written in e3nn.

    :param network: one of ours.
    """
    copy = deepcopy(network)
    choose_backend(copy, "reference", torch.device("cpu"))
    for module in list(copy.modules()):
        for name, child in module.named_children():
            if isinstance(child, FusionProduct):
                setattr(module, name, DirectFusion(child).to(next(copy.parameters())))
            elif isinstance(child, SymmetricContraction):
                setattr(module, name, DirectContraction(child).to(next(copy.parameters())))
    return copy


def _collect(path: Path, vertices: dict[Vertex, None]) -> dict[Vertex, None]:
    """Add the vertices of a path, those below first."""
    if isinstance(path, Vertex):
        _collect(path.left, vertices)
        _collect(path.right, vertices)
        vertices[path] = None
    return vertices


def _starts(irreps: list[tuple[int, int]]) -> list[int]:
    """The first component of each irrep."""
    return [sum(2 * order + 1 for order, _ in irreps[:number]) for number in range(len(irreps))]
