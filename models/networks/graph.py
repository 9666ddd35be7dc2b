"""What a network and its target see of a molecule: elements, and edges with their harmonics and radial values."""

from math import pi
from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor

from tesseral.study import configuration
from tesseral.study.errors import DataError


class Graph(NamedTuple):
    """Atoms of one or more structures and the directed edges between neighbours; no edge joins two structures."""

    species: Tensor
    """(atoms,) int64, position of the atom's element among the basis's, in ascending atomic number."""
    elements: Tensor
    """(atoms, elements), one-hot of `species`."""
    source: Tensor
    """(edges,) int64, the neighbour whose features are sent."""
    destination: Tensor
    """(edges,) int64, the atom that receives them."""
    harmonics: Tensor
    """(edges, (lmax+1)²), u(r/cutoff)·Y_lm of the vector from destination to source, l = 0..lmax."""
    radial: Tensor
    """(edges, radial functions), φ_k(r)."""
    positions: Tensor
    """(atoms, 3), Å. Those of a data set are about the centre of nuclear charge, as multipoles are."""
    structure: Tensor
    """(atoms,) int64, position of the atom's structure among those of the graph."""
    charge: Tensor
    """(structures,), total charge, e."""

    @property
    def size(self) -> int:
        """Structures."""
        return len(self.charge)


class EdgeBasis(NamedTuple):
    """What edges are described by: the numbers that `build_graph` and `at_positions` ask for."""

    cutoff: float
    """Atoms nearer than this are neighbours, Å."""
    lmax: int
    """Of the harmonics."""
    number: int
    """Radial functions."""
    basis: str = "gaussian"
    """See `tesseral.models.networks.graph.radial_functions`."""
    envelope: str = "sine"
    """See `tesseral.models.networks.graph.smooth_cutoff`."""


def edge_basis(settings: configuration.Network) -> EdgeBasis:
    """Of the edges that a network asks for."""
    return EdgeBasis(
        settings.radial_cutoff,
        settings.harmonics_lmax,
        settings.radial_functions,
        settings.radial_basis,
        settings.radial_envelope,
    )


def edge_values(
    vectors: Tensor, cutoff: float, lmax: int, number: int, basis: str = "gaussian", envelope: str = "sine"
) -> tuple[Tensor, Tensor]:
    """`Graph.harmonics` and `Graph.radial` of edges; a gradient passes, twice over too.

    Y is e3nn's, of 'component' normalization (Σ_m Y_lm² = 2l+1), in the axes x, y, z of the positions.

    :param vectors: (edges, 3), from destination to source, Å; the other parameters are those of `EdgeBasis`.
    """
    distances = vectors.norm(dim=-1)
    harmonics = o3.spherical_harmonics(list(range(lmax + 1)), vectors, normalize=True, normalization="component")
    shares = smooth_cutoff(distances / cutoff, envelope)[:, None]
    return shares * harmonics, radial_functions(distances, cutoff, number, basis)


def build_graph(
    species: Tensor,
    positions: Tensor,
    elements: int,
    *,
    cutoff: float,
    lmax: int,
    number: int,
    basis: str = "gaussian",
    envelope: str = "sine",
    charge: float = 0.0,
) -> Graph:
    """The graph of one structure, in the precision of `positions`.

    :param species: (atoms,) int64.
    :param positions: (atoms, 3), Å.
    :param elements: length of the one-hot.
    :param charge: total charge, e; the other parameters are those of `EdgeBasis`.
    :raises DataError: if two atoms lie at one place.
    """
    vectors = positions[None, :] - positions[:, None]  # [destination, source]
    distances = vectors.norm(dim=-1)
    alone = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
    if (distances[~alone] == 0).any():
        raise DataError("expected atoms at different positions, got two at one place")
    destination, source = ((distances < cutoff) & ~alone).nonzero().unbind(1)
    harmonics, radial = edge_values(vectors[destination, source], cutoff, lmax, number, basis, envelope)
    return Graph(
        species=species,
        elements=torch.nn.functional.one_hot(species, elements).to(positions.dtype),
        source=source,
        destination=destination,
        harmonics=harmonics,
        radial=radial,
        positions=positions,
        structure=torch.zeros_like(species),
        charge=positions.new_tensor([charge]),
    )


def at_positions(
    graph: Graph,
    positions: Tensor,
    cutoff: float,
    lmax: int,
    number: int,
    basis: str = "gaussian",
    envelope: str = "sine",
) -> Graph:
    """The same edges with the harmonics and radial values of other positions, to which a gradient passes.

    :param positions: (atoms, 3), Å; the other parameters are those that the graph was built with.
    """
    vectors = positions.index_select(0, graph.source) - positions.index_select(0, graph.destination)
    harmonics, radial = edge_values(vectors, cutoff, lmax, number, basis, envelope)
    return graph._replace(harmonics=harmonics, radial=radial, positions=positions)


def join(graphs: list[Graph]) -> Graph:
    """One graph of several, their atoms numbered on."""
    first = size = 0
    source, destination, structure = [], [], []
    for graph in graphs:
        structure.append(graph.structure + size)
        size += graph.size
        source.append(graph.source + first)
        destination.append(graph.destination + first)
        first += len(graph.species)
    return Graph(
        species=torch.cat([graph.species for graph in graphs]),
        elements=torch.cat([graph.elements for graph in graphs]),
        source=torch.cat(source),
        destination=torch.cat(destination),
        harmonics=torch.cat([graph.harmonics for graph in graphs]),
        radial=torch.cat([graph.radial for graph in graphs]),
        positions=torch.cat([graph.positions for graph in graphs]),
        structure=torch.cat(structure),
        charge=torch.cat([graph.charge for graph in graphs]),
    )


def radial_functions(distances: Tensor, cutoff: float, number: int, basis: str = "gaussian") -> Tensor:
    """φ_k(r), k = 1..n, scaled to a second moment of about 1; c is the cutoff, δ = c/(n+1), c_k = kδ.

    - `gaussian`: √n (2/π)^¼ exp(−((r − c_k)/δ)²). The mean of φ_k² over k is 1 away from the ends.
    - `bessel`: √(c³/3) · √(2/c) sin(kπr/c)/r, as of arXiv 2003.03123 but for the first factor, which makes the mean of
      each φ_k² over the ball of radius c exactly 1. Nearer than c/√3 the mean over k is larger, c²/(3r²).
    - `cosine`: √(4n/3) · ½(1 + cos(π(r − c_k)/δ)) where |r − c_k| < δ, else 0: squares of e3nn's 'cosine', whose slope
      jumps where ours is continuous, so that forces are too. The mean of φ_k² over k and r is 1 away from the ends.

    :param distances: (edges,), Å.
    :param cutoff: Å.
    :param basis: one of those names.
    :returns: (edges, number).
    """
    orders = torch.arange(1, number + 1, dtype=distances.dtype, device=distances.device)
    if basis == "bessel":
        return (cutoff * (2 / 3) ** 0.5) * (orders * (pi / cutoff) * distances[:, None]).sin() / distances[:, None]
    spacing = cutoff / (number + 1)
    offsets = (distances[:, None] - spacing * orders) / spacing
    if basis == "cosine":
        lobes = torch.where(offsets.abs() < 1, (pi / 2 * offsets).cos().square(), 0.0)
        return (4 * number / 3) ** 0.5 * lobes
    return (number**0.5 * (2 / pi) ** 0.25) * offsets.square().neg().exp()


def smooth_cutoff(x: Tensor, envelope: str = "sine") -> Tensor:
    """u(x) of x = r/cutoff, 1 at 0 and 0 from x = 1 on.

    - `sine`: 1 up to x = ½, then sin²(πx); continuous with its first derivative.
    - `polynomial`: 1 − 28x⁶ + 48x⁷ − 21x⁸, that is p = 6 in arXiv 2003.03123; continuous with its first and second.
    """
    if envelope == "polynomial":
        # The same polynomial by its triple root, so that nothing cancels near the cutoff.
        rest = 1 + x * (3 + x * (6 + x * (10 + x * (15 + x * 21))))
        return torch.where(x < 1, (1 - x) ** 3 * rest, 0.0)
    return torch.where(x < 0.5, 1.0, torch.where(x < 1, (pi * x).sin().square(), 0.0))
