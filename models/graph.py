"""What a network sees of a molecule: elements, and edges with their harmonics and radial values."""

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


def build_graph(species: Tensor, positions: Tensor, elements: int, *, cutoff: float, lmax: int, number: int) -> Graph:
    """The graph of one structure, in the precision of `positions`.

    Y is e3nn's, of 'component' normalization (Σ_m Y_lm² = 2l+1), in the axes x, y, z of the positions.

    :param species: (atoms,) int64.
    :param positions: (atoms, 3), Å.
    :param elements: length of the one-hot.
    :param cutoff: atoms nearer than this are neighbours, Å.
    :param number: radial functions.
    :raises DataError: if two atoms lie at one place.
    """
    vectors = positions[None, :] - positions[:, None]  # [destination, source]
    distances = vectors.norm(dim=-1)
    alone = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
    if (distances[~alone] == 0).any():
        raise DataError("expected atoms at different positions, got two at one place")
    destination, source = ((distances < cutoff) & ~alone).nonzero().unbind(1)
    vectors, distances = vectors[destination, source], distances[destination, source]
    harmonics = o3.spherical_harmonics(list(range(lmax + 1)), vectors, normalize=True, normalization="component")
    return Graph(
        species=species,
        elements=torch.nn.functional.one_hot(species, elements).to(positions.dtype),
        source=source,
        destination=destination,
        harmonics=smooth_cutoff(distances / cutoff)[:, None] * harmonics,
        radial=radial_functions(distances, cutoff, number),
    )


def join(graphs: list[Graph]) -> Graph:
    """One graph of several, their atoms numbered on."""
    first = 0
    source, destination = [], []
    for graph in graphs:
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
    )
