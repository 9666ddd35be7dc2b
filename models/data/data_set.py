"""Reference data made ready for training: geometry computed once, then reused by every epoch and later trial."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis, wanted_columns
from tesseral.models.data.target_values import density_labels, energy_of, property_values
from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.study import configuration
from tesseral.study.configuration.quantities import find_quantity
from tesseral.study.errors import DataError

KEPT = 4
"""Data sets that a process keeps for its later trials, the latest used."""


class Batch(NamedTuple):
    """One or more structures, their atoms and edges concatenated, on one device; but for `values` and `energy` of
    other targets than the density, which are float64, all floats are in one precision."""

    graph: Graph
    values: Tensor
    """What is predicted, (structures or atoms, its dimension). Of the density, (atoms, columns of the basis's layout),
    electron · bohr^(−3/2); zero where an element lacks the shell."""
    energy: Tensor
    """(structures, 1), hartree, beside forces; (structures, 0) where there is none."""
    filled: Tensor
    """(structures, functions) int64: where in coefficients, flattened, each row of the overlap matrix stands. Without
    functions, as the matrices, for other targets than the density."""
    overlap: Tensor
    """(structures, functions, functions), ∫χ_i χ_j. Structures with fewer functions are padded with zeros, and
    `filled` anyhow."""
    coulomb: Tensor
    """The same of ∫∫χ_i χ_j / r for the Coulomb loss; of no functions for any other."""

    @property
    def size(self) -> int:
        """Structures."""
        return self.graph.size


class DataSet:
    """The converged structures of reference data, with the edges and harmonics that a network asks for.

    :param settings: what counts is in `EdgeBasis`.
    :param target: what of the reference data is predicted.
    :param coulomb: whether the Coulomb matrices of the density's basis are made.
    :raises DataError: if a structure lacks what is predicted, or two of its atoms lie at one place.
    :raises StudyFileError: if the reference data have no such label, or the basis no such order.
    """

    def __init__(
        self,
        reference: Reference,
        settings: configuration.Network,
        dtype: torch.dtype,
        device: torch.device,
        target: configuration.Target | None = None,
        *,
        coulomb: bool = False,
    ) -> None:
        target = target or configuration.Target()
        self.reference = reference.converged
        self.quantity = find_quantity(target.quantity, reference.labels)
        self.basis = chosen_basis(reference, target)
        self.settings = settings
        self.elements = reference.elements
        columns = ["id", "atomic_numbers", "positions", "charge", *wanted_columns(self.quantity)]
        rows = self.reference.table.select(columns)
        self.structures: list[Batch] = []
        for row in (record for part in rows.to_batches(max_chunksize=16) for record in part.to_pylist()):
            batch = self._structure(row, reference, coulomb)
            self.structures.append(_moved(batch, dtype, device))
        if self.quantity.pooling == "gradient" and len({one.energy.shape[1] for one in self.structures}) > 1:
            raise DataError("expected an energy beside the forces of every structure or of none, some have one")

    def _structure(self, row: dict[str, Any], reference: Reference, coulomb: bool) -> Batch:
        positions = torch.tensor(row["positions"], dtype=torch.float64)
        species = [self.elements.index(number) for number in row["atomic_numbers"]]
        try:
            graph = build_graph(
                torch.tensor(species),
                positions,
                len(self.elements),
                EdgeBasis.from_settings(self.settings),
                charge=row["charge"],
            )
        except DataError as error:
            raise DataError(f"structure {row['id']!r}: {error}") from None
        weights = torch.tensor(row["atomic_numbers"], dtype=torch.float64)
        graph = graph._replace(positions=positions - weights @ positions / weights.sum())
        empty = torch.zeros(1, 0, dtype=torch.float64)
        if self.basis is not None and reference.basis is not None:
            found = density_labels(row, self.basis, reference.basis, coulomb=coulomb)
            return Batch(graph, found.coefficients, empty, found.filled, found.overlap, found.coulomb)
        values = property_values(row, self.quantity)
        energy = energy_of(row) if self.quantity.pooling == "gradient" else empty
        return Batch(graph, values, energy, empty.long(), empty[..., None], empty[..., None])

    def __len__(self) -> int:
        return len(self.structures)

    def batch(self, indices: Iterable[int]) -> Batch:
        """These structures as one batch."""
        return collate(self.select(indices))

    def select(self, indices: Iterable[int]) -> list[Batch]:
        """These structures one by one."""
        return [self.structures[index] for index in indices]

    def neighbors(self, indices: Iterable[int]) -> float:
        """Mean number of neighbours of an atom in these structures.

        :raises DataError: if no atom has a neighbour.
        """
        graphs = [one.graph for one in self.select(indices)]
        edges, atoms = sum(len(graph.source) for graph in graphs), sum(len(graph.species) for graph in graphs)
        if not edges:
            raise DataError(
                "network.radial_cutoff: expected a distance within which atoms of the training split have neighbours, "
                "got one within which none has"
            )
        return edges / atoms


def collate(batches: Sequence[Batch]) -> Batch:
    """One batch of several, in their order."""
    if len(batches) == 1:
        return batches[0]
    functions = max(batch.filled.shape[1] for batch in batches)
    filled = []
    atoms = 0
    for batch in batches:
        missing = functions - batch.filled.shape[1]
        filled.append(torch.nn.functional.pad(batch.filled + atoms * batch.values.shape[1], (0, missing)))
        atoms += len(batch.graph.species)
    return Batch(
        graph=join([batch.graph for batch in batches]),
        values=torch.cat([batch.values for batch in batches]),
        energy=torch.cat([batch.energy for batch in batches]),
        filled=torch.cat(filled),
        overlap=_padded([batch.overlap for batch in batches]),
        coulomb=_padded([batch.coulomb for batch in batches]),
    )


def _padded(matrices: Sequence[Tensor]) -> Tensor:
    functions = max(matrix.shape[1] for matrix in matrices)
    parts = []
    for matrix in matrices:
        missing = functions - matrix.shape[1]
        parts.append(torch.nn.functional.pad(matrix, (0, missing, 0, missing)) if missing else matrix)
    return torch.cat(parts)


def open_data_set(
    reference: Reference, settings: configuration.Configuration, dtype: torch.dtype, device: torch.device
) -> DataSet:
    """The data set that a configuration trains on, or an equal one that this process made before."""
    network, target, coulomb = settings.network, settings.target, settings.loss.name == "coulomb"
    asked = (target.quantity, target.orders, coulomb)
    edges = EdgeBasis.from_settings(network)
    return _kept(_Request(reference.content_hash, edges, asked, dtype, device, reference, settings))


@dataclass(frozen=True)
class _Request:
    """What makes two data sets equal, and what they are made from."""

    content_hash: str
    edges: EdgeBasis
    asked: tuple[str, tuple[int, ...] | None, bool]
    dtype: torch.dtype
    device: torch.device
    reference: Reference = field(compare=False)
    settings: configuration.Configuration = field(compare=False)


@lru_cache(maxsize=KEPT)
def _kept(request: _Request) -> DataSet:
    settings, (*_, coulomb) = request.settings, request.asked
    return DataSet(request.reference, settings.network, request.dtype, request.device, settings.target, coulomb=coulomb)


def _moved(batch: Batch, dtype: torch.dtype, device: torch.device) -> Batch:
    """Everything on the device and in the precision of the training, but that properties keep their digits: an energy
    of −76 hartree in float32 has lost 5e-6."""

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    moved = Batch(Graph(*map(move, batch.graph)), *map(move, batch[1:]))
    if batch.filled.shape[1]:
        return moved
    return moved._replace(values=batch.values.to(device), energy=batch.energy.to(device))
