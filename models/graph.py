"""What a network and its target see of a molecule: elements, and edges with their harmonics and radial values."""

from math import pi
from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor

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


def radial_functions(distances: Tensor, cutoff: float, number: int) -> Tensor:
    """φ_k(r) = √n (2/π)^¼ exp(−((r − c_k)/δ)²) with c_k = kδ, k = 1..n, δ = cutoff/(n+1).

    Centres lie evenly inside the cutoff. The factor makes the mean of φ_k² over k about 1 away from the ends.

    :param distances: (edges,), Å.
    :param cutoff: Å.
    :returns: (edges, number).
    """
    spacing = cutoff / (number + 1)
    centres = spacing * torch.arange(1, number + 1, dtype=distances.dtype, device=distances.device)
    return (number**0.5 * (2 / pi) ** 0.25) * ((distances[:, None] - centres) / spacing).square().neg().exp()


def smooth_cutoff(x: Tensor) -> Tensor:
    """u(x) = 1 up to x = 1/2, then sin²(πx), 0 from x = 1 on; continuous with its first derivative."""
    return torch.where(x < 0.5, 1.0, torch.where(x < 1, (pi * x).sin().square(), 0.0))


def edge_values(vectors: Tensor, cutoff: float, lmax: int, number: int) -> tuple[Tensor, Tensor]:
    """`Graph.harmonics` and `Graph.radial` of edges; a gradient passes, twice over too.

    Y is e3nn's, of 'component' normalization (Σ_m Y_lm² = 2l+1), in the axes x, y, z of the positions.

    :param vectors: (edges, 3), from destination to source, Å.
    :param cutoff: Å.
    :param number: radial functions.
    """
    distances = vectors.norm(dim=-1)
    harmonics = o3.spherical_harmonics(list(range(lmax + 1)), vectors, normalize=True, normalization="component")
    return smooth_cutoff(distances / cutoff)[:, None] * harmonics, radial_functions(distances, cutoff, number)


def build_graph(
    species: Tensor, positions: Tensor, elements: int, *, cutoff: float, lmax: int, number: int, charge: float = 0.0
) -> Graph:
    """The graph of one structure, in the precision of `positions`.

    :param species: (atoms,) int64.
    :param positions: (atoms, 3), Å.
    :param elements: length of the one-hot.
    :param cutoff: atoms nearer than this are neighbours, Å.
    :param number: radial functions.
    :param charge: total charge, e.
    :raises DataError: if two atoms lie at one place.
    """
    vectors = positions[None, :] - positions[:, None]  # [destination, source]
    distances = vectors.norm(dim=-1)
    alone = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
    if (distances[~alone] == 0).any():
        raise DataError("expected atoms at different positions, got two at one place")
    destination, source = ((distances < cutoff) & ~alone).nonzero().unbind(1)
    harmonics, radial = edge_values(vectors[destination, source], cutoff, lmax, number)
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


def at_positions(graph: Graph, positions: Tensor, cutoff: float, lmax: int, number: int) -> Graph:
    """The same edges with the harmonics and radial values of other positions, to which a gradient passes.

    :param positions: (atoms, 3), Å; the other parameters are those that the graph was built with.
    """
    vectors = positions.index_select(0, graph.source) - positions.index_select(0, graph.destination)
    harmonics, radial = edge_values(vectors, cutoff, lmax, number)
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
