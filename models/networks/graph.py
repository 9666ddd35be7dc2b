"""The graph of a batch of structures: elements, edges, and the harmonics and radial values of each edge.

Geometry is constant over a study unless forces are learned, so these are computed once per data set and reused in every
step. A network reads `Graph` and computes no geometry of its own.
"""

from collections.abc import Sequence
from math import pi
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.networks.concatenation import concatenate, count_rows, first_rows
from tesseral.models.networks.harmonics import spherical_harmonics
from tesseral.models.networks.neighbors import periodic_neighbors
from tesseral.study import configuration
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError


class Graph(NamedTuple):
    """Atoms of one or more structures and the directed edges between neighbours; no edge joins two structures.

    In a periodic structure a neighbour may be an image of an atom: an edge then comes from that atom, from where its
    image is.
    """

    species: Tensor
    """(atoms,) int64, index of the atom's element among the data set's elements, in ascending atomic number."""
    elements: Tensor
    """(atoms, elements), one-hot of `species`."""
    source: Tensor
    """(edges,) int64, the neighbour whose features are sent."""
    destination: Tensor
    """(edges,) int64, the atom that receives them."""
    harmonics: Tensor
    """(edges, (lmax+1)²), u(r/cutoff)·Y_lm of the vector from destination to source, l = 0..lmax."""
    radial: Tensor
    """(edges, radial functions), φ_k(r); (edges, 1), r in Å, where the radial network is tabulated."""
    positions: Tensor
    """(atoms, 3), Å. In a data set they are relative to the structure's centre of nuclear charge, as multipoles are."""
    structure: Tensor
    """(atoms,) int64, index of the structure that the atom belongs to."""
    charge: Tensor
    """(structures,), total charge, e."""
    reverse: Tensor
    """(edges,) int64, the edge that leads back; edges are then sorted by `destination`. Empty where they are not, or
    where some have no reverse."""
    half: Tensor
    """(edges/2,) int64, of each edge and its reverse the first. What depends on the distance alone is equal for both.
    Every edge, or empty, where each is to count by itself."""
    shift: Tensor
    """(edges, 3), Å, the lattice vector from the source to the image of it that is the neighbour. Empty where no
    structure is periodic."""
    cell: Tensor
    """(structures, 3, 3), Å, lattice vectors as rows; zeros where a structure does not repeat."""

    @property
    def size(self) -> int:
        """Number of structures."""
        return self.charge.shape[0]  # `len` would make torch.export take it for a constant

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """On a device, floats in a precision.

        :param device: where all tensors go.
        :param dtype: of the floats.
        """
        return type(self)(*(part.to(device, dtype if part.is_floating_point() else part.dtype) for part in self))


class EdgeBasis(NamedTuple):
    """The functions that describe an edge: spherical harmonics times an envelope, and radial functions."""

    cutoff: float
    """Atoms closer than this are neighbours, Å."""
    lmax: int
    """Largest l of the spherical harmonics."""
    number: int
    """Number of radial functions."""
    functions: str = "gaussian"
    """Kind of radial functions; see `radial_functions`; or `distance`, r itself."""
    envelope: str = "sine"
    """Kind of cutoff function; see `smooth_cutoff`."""

    @classmethod
    def from_settings(cls, settings: configuration.Network) -> Self:
        """The edge basis that a `network` section asks for.

        :param settings: the `network` section.
        """
        tabulated = settings.radial_knots is not None
        return cls(
            settings.radial_cutoff,
            settings.harmonics_lmax,
            1 if tabulated else settings.radial_functions,
            "distance" if tabulated else settings.radial_basis,
            settings.radial_envelope,
        )

    def evaluate(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """`Graph.harmonics` and `Graph.radial` of edges, twice differentiable.

        Y is e3nn's with normalization='component' (Σ_m Y_lm² = 2l+1), in the x, y, z axes of the positions.

        :param vectors: (edges, 3), from destination to source, Å.
        :returns: (edges, (lmax+1)²) and (edges, number).
        """
        distances = vectors.norm(dim=-1)
        harmonics = spherical_harmonics(vectors, self.lmax)
        # The envelope multiplies the harmonics, not the radial functions: every message contains a harmonic, so every
        # message goes smoothly to zero at the cutoff, whatever a radial network makes of φ.
        envelope = smooth_cutoff(distances / self.cutoff, self.envelope)[:, None]
        return envelope * harmonics, radial_functions(distances, self.cutoff, self.number, self.functions)


def build_graph(
    species: Tensor,
    positions: Tensor,
    elements: int,
    basis: EdgeBasis,
    *,
    charge: float = 0.0,
    cell: NDArray[np.float64] | None = None,
) -> Graph:
    """Build the graph of one structure, in the precision of `positions`.

    :param species: (atoms,) int64, index of each atom's element.
    :param positions: (atoms, 3), Å.
    :param elements: number of elements, the length of the one-hot.
    :param basis: cutoff, harmonics and radial functions.
    :param charge: total charge, e.
    :param cell: (3, 3), Å, lattice vectors as rows, of zeros where the structure does not repeat; None: a molecule.
    :raises DataError: if two atoms are at the same position, or the lattice vectors span no cell.
    """
    shift = positions.new_zeros(0, 3)
    if cell is not None:
        found = periodic_neighbors(positions.double().cpu().numpy(), cell, basis.cutoff)
        device = positions.device
        destination, source, reverse = (torch.from_numpy(part).to(device) for part in found if part.ndim == 1)
        shift = torch.from_numpy(found.shift).to(positions)
        edges = torch.arange(len(source), device=device)
    else:
        vectors = positions[None, :] - positions[:, None]  # [destination, source]
        distances = vectors.norm(dim=-1)
        itself = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
        if (distances[~itself] == 0).any():
            raise DataError("expected atoms at different positions, got two at one place")
        destination, source = ((distances < basis.cutoff) & ~itself).nonzero().unbind(1)
        edges = torch.arange(len(source), device=source.device)
        number = torch.zeros_like(distances, dtype=torch.int64)
        number[source, destination] = edges
        reverse = number[destination, source]
    graph = Graph(
        species=species,
        elements=torch.nn.functional.one_hot(species, elements).to(positions.dtype),
        source=source,
        destination=destination,
        harmonics=positions.new_zeros(0),
        radial=positions.new_zeros(0),
        positions=positions,
        structure=torch.zeros_like(species),
        charge=positions.new_tensor([charge]),
        reverse=reverse,
        half=(reverse > edges).nonzero()[:, 0],
        shift=shift,
        cell=positions.new_zeros(1, 3, 3) if cell is None else torch.from_numpy(cell).to(positions)[None],
    )
    return at_positions(graph, positions, basis)


def molecule_graph(
    atomic_numbers: Sequence[int],
    positions: Tensor,
    elements: Sequence[int],
    basis: EdgeBasis,
    *,
    charge: float = 0.0,
    cell: NDArray[np.float64] | None = None,
) -> Graph:
    """The graph of a structure as data sets hold it: positions are relative to the centre of nuclear charge.

    :param atomic_numbers: Z of each atom.
    :param positions: (atoms, 3), Å.
    :param elements: atomic numbers that the network knows, ascending.
    :param basis: cutoff, harmonics and radial functions.
    :param charge: total charge, e.
    :param cell: as for `build_graph`.
    :raises DataError: if the network does not know an element; as `build_graph`.
    """
    unknown = sorted(set(atomic_numbers) - set(elements))
    if unknown:
        known, came = (", ".join(SYMBOLS[number - 1] for number in numbers) for numbers in (elements, unknown))
        raise DataError(f"expected the elements that the trial was trained on, {known}, got {came}")
    species = torch.tensor([elements.index(number) for number in atomic_numbers])
    graph = build_graph(species, positions, len(elements), basis, charge=charge, cell=cell)
    weights = torch.tensor(atomic_numbers, dtype=positions.dtype)
    return graph._replace(positions=positions - weights @ positions / weights.sum())


def at_positions(graph: Graph, positions: Tensor, basis: EdgeBasis, strain: Tensor | None = None) -> Graph:
    """Recompute harmonics and radial values at other positions, keeping the edges, so that a gradient reaches them.

    A strain ε moves every atom, image and lattice vector from r to (1 + ε) r.

    :param graph: of one structure or several.
    :param positions: (atoms, 3), Å.
    :param basis: the edge basis that the graph was built with.
    :param strain: (structures, 3, 3), dimensionless, symmetric; None: none.
    """
    vectors = positions.index_select(0, graph.source) - positions.index_select(0, graph.destination)
    if graph.shift.shape[0]:
        vectors = vectors + graph.shift
    if strain is not None:
        of_atom = strain.index_select(0, graph.structure)
        of_edge = of_atom.index_select(0, graph.source)
        vectors = vectors + torch.einsum("eij,ej->ei", of_edge, vectors)
        positions = positions + torch.einsum("aij,aj->ai", of_atom, positions)
    harmonics, radial = basis.evaluate(vectors)
    return graph._replace(harmonics=harmonics, radial=radial, positions=positions)


def join(graphs: Sequence[Graph]) -> Graph:
    """Join graphs into one; atoms, edges and structures are numbered consecutively.

    :param graphs: at least one, of equal elements and edge basis; `reverse` is filled in all of them or in none.
    """
    return join_runs([graphs])[0]


def join_runs(runs: Sequence[Sequence[Graph]]) -> list[Graph]:
    """`join` for each run of graphs, in as many operations as one takes.

    :param runs: at least one, each as for `join`.
    """
    columns = [dict(zip(Graph._fields, zip(*run, strict=True), strict=True)) for run in runs]
    atoms, edges, structures = (
        count_rows([column[name] for column in columns]) for name in ("species", "source", "charge")
    )
    for column, own in zip(columns, edges, strict=True):
        if any(shift.shape[0] for shift in column["shift"]):  # zeros for what is no cell
            pairs = zip(column["shift"], own, strict=True)
            column["shift"] = tuple(shift if shift.shape[0] else shift.new_zeros(rows, 3) for shift, rows in pairs)
    known = dict.fromkeys(("species", "elements", "positions", "structure"), atoms)
    known |= dict.fromkeys(("source", "destination", "harmonics", "radial"), edges)
    before = {"structure": structures, "source": atoms, "destination": atoms, "reverse": edges, "half": edges}
    offsets = {name: [first_rows(rows) for rows in of] for name, of in before.items()}
    fields = (
        concatenate([column[name] for column in columns], known.get(name), offsets.get(name)) for name in Graph._fields
    )
    return [Graph(*parts) for parts in zip(*fields, strict=True)]


def radial_functions(distances: Tensor, cutoff: float, number: int, functions: str = "gaussian") -> Tensor:
    """Expand distances in radial functions φ_k(r), k = 1..n, of second moment about 1.

    With the cutoff c, the spacing δ = c/(n+1) and centres c_k = kδ:

    - `gaussian`: √n (2/π)^¼ exp(−((r − c_k)/δ)²). The mean of φ_k² over k is 1 away from both ends.
    - `bessel`: √(c³/3) · √(2/c) sin(kπr/c)/r, as in DimeNet (Gasteiger et al., arXiv 2003.03123) times the first
      factor, which makes the mean of φ_k² over the ball of radius c exactly 1. Below r = c/√3 the mean over k is
      larger, c²/(3r²).
    - `distance`: r itself, of which a table makes what a radial network needs.
    - `cosine`: √(4n/3) · ½(1 + cos(π(r − c_k)/δ)) where |r − c_k| < δ, else 0. The mean of φ_k² over k and r is 1 away
      from both ends. These are squares of e3nn's 'cosine' functions: their slope is continuous, so forces are too.

    :param distances: (edges,), Å.
    :param cutoff: Å.
    :param number: n.
    :param functions: one of the names above.
    :returns: (edges, number).
    """
    if functions == "distance":
        return distances[:, None]
    orders = torch.arange(1, number + 1, dtype=distances.dtype, device=distances.device)
    if functions == "bessel":
        return (cutoff * (2 / 3) ** 0.5) * (orders * (pi / cutoff) * distances[:, None]).sin() / distances[:, None]
    spacing = cutoff / (number + 1)
    offsets = (distances[:, None] - spacing * orders) / spacing
    if functions == "cosine":
        lobes = torch.where(offsets.abs() < 1, (pi / 2 * offsets).cos().square(), 0.0)
        return (4 * number / 3) ** 0.5 * lobes
    return (number**0.5 * (2 / pi) ** 0.25) * offsets.square().neg().exp()


def smooth_cutoff(x: Tensor, envelope: str = "sine") -> Tensor:
    """Evaluate the envelope u(x) at x = r/cutoff: 1 at x = 0, and 0 from x = 1 on.

    - `sine`: 1 up to x = ½, then sin²(πx). The first derivative is continuous.
    - `polynomial`: 1 − 28x⁶ + 48x⁷ − 21x⁸, DimeNet's envelope (arXiv 2003.03123) with p = 6. The first and
      second derivatives are continuous.

    :param x: (edges,), without unit.
    :param envelope: one of the names above.
    """
    if envelope == "polynomial":
        # The same polynomial with its triple root at x = 1 factored out: no cancellation near the cutoff.
        rest = 1 + x * (3 + x * (6 + x * (10 + x * (15 + x * 21))))
        return torch.where(x < 1, (1 - x) ** 3 * rest, 0.0)
    return torch.where(x < 0.5, 1.0, torch.where(x < 1, (pi * x).sin().square(), 0.0))
