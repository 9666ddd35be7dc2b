"""Reference data made ready for training: geometry computed once, then reused by every epoch and later trial."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tesseral.models.graph import Graph, build_graph, join
from tesseral.models.reference_file import Reference
from tesseral.study import configuration
from tesseral.study.errors import DataError

KEPT = 4
"""Data sets that a process keeps for its later trials, the latest used."""


class Batch(NamedTuple):
    """One or more structures, their atoms and edges concatenated; all floats in one precision, on one device."""

    graph: Graph
    coefficients: Tensor
    """(atoms, columns of the basis's layout), electron · bohr^(−3/2); zero where an element lacks the shell."""
    structure: Tensor
    """(atoms,) int64, position in the batch of the atom's structure."""
    filled: Tensor
    """(structures, functions) int64: where in `coefficients`, flattened, each row of the overlap matrix stands."""
    overlap: Tensor
    """(structures, functions, functions), ∫χ_i χ_j. Structures with fewer functions are padded with zeros, and
    `filled` anyhow."""

    @property
    def size(self) -> int:
        """Structures."""
        return len(self.overlap)


class Split(NamedTuple):
    """Positions of structures among the converged ones of the reference data."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def check_sizes(data: configuration.Data, reference: Reference) -> None:
    """Check that the splits fit into the reference data.

    :raises DataError: if they do not.
    """
    size, asked = len(reference.converged), data.train + data.validation + data.test
    if asked > size:
        raise DataError(
            f"data.train: expected train + validation + test of at most {size}, the converged structures of "
            f"{data.reference}, got {data.train} + {data.validation} + {data.test} = {asked}"
        )


def permutation(seed: int, size: int) -> list[int]:
    """A random order of 0..size−1. NumPy has frozen the stream of this generator, so it is the same for ever."""
    return [int(i) for i in np.random.RandomState(np.random.MT19937(seed)).permutation(size)]


def split(data: configuration.Data, size: int, seed: int) -> Split:
    """The first structures of a permutation are for testing, the next for validation, then those trained on.

    Training sets of different sizes are thus nested, and judged by the same structures.
    """
    order = permutation(seed, size)
    first = data.test + data.validation
    return Split(
        train=tuple(order[first : first + data.train]),
        validation=tuple(order[data.test : first]),
        test=tuple(order[: data.test]),
    )


class DataSet:
    """The converged structures of reference data, with the edges and harmonics that a network asks for.

    :param settings: `radial_cutoff`, `harmonics_lmax` and `radial_functions` count.
    :raises DataError: if a structure has no overlap matrix, or two of its atoms lie at one place.
    """

    def __init__(
        self, reference: Reference, settings: configuration.Network, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.basis = reference.basis
        self.reference = reference.converged
        columns = {number: self.basis.columns(number) for number in self.basis.shells}
        width = sum(mul * (2 * order + 1) for mul, order, _ in self.basis.layout)
        numbers = sorted(self.basis.shells)
        rows = self.reference.table.select(["id", "atomic_numbers", "positions", "coefficients", "overlap"])
        self.structures: list[Batch] = []
        for row in (record for part in rows.to_batches(max_chunksize=16) for record in part.to_pylist()):
            if row["overlap"] is None:
                raise DataError(f"expected the overlap matrix of every structure, {row['id']!r} has none")
            found = [columns[number] for number in row["atomic_numbers"]]
            filled = np.concatenate([np.array(places) + atom * width for atom, places in enumerate(found)])
            coefficients = np.zeros(len(found) * width)
            coefficients[filled] = np.concatenate(row["coefficients"])
            overlap = np.zeros((len(filled), len(filled)))
            overlap[np.tril_indices(len(filled))] = row["overlap"]
            overlap += np.tril(overlap, -1).T
            try:
                graph = build_graph(
                    torch.tensor([numbers.index(number) for number in row["atomic_numbers"]]),
                    torch.tensor(row["positions"], dtype=torch.float64),
                    len(numbers),
                    cutoff=settings.radial_cutoff,
                    lmax=settings.harmonics_lmax,
                    number=settings.radial_functions,
                )
            except DataError as error:
                raise DataError(f"structure {row['id']!r}: {error}") from None
            batch = Batch(
                graph=graph,
                coefficients=torch.from_numpy(coefficients.reshape(-1, width)),
                structure=torch.zeros(len(found), dtype=torch.int64),
                filled=torch.from_numpy(filled)[None],
                overlap=torch.from_numpy(overlap)[None],
            )
            self.structures.append(_moved(batch, dtype, device))

    def __len__(self) -> int:
        return len(self.structures)

    def batch(self, indices: Iterable[int]) -> Batch:
        """These structures as one batch."""
        return collate([self.structures[index] for index in indices])

    def atoms(self, indices: Iterable[int]) -> tuple[Tensor, Tensor]:
        """Coefficients, (atoms, columns), and species, (atoms,), of all atoms of these structures."""
        chosen = [self.structures[index] for index in indices]
        return torch.cat([one.coefficients for one in chosen]), torch.cat([one.graph.species for one in chosen])

    def neighbors(self, indices: Iterable[int]) -> float:
        """Mean number of neighbours of an atom in these structures.

        :raises DataError: if no atom has a neighbour.
        """
        graphs = [self.structures[index].graph for index in indices]
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
    structure, filled, overlap = [], [], []
    size = atoms = 0
    for batch in batches:
        missing = functions - batch.filled.shape[1]
        structure.append(batch.structure + size)
        filled.append(torch.nn.functional.pad(batch.filled + atoms * batch.coefficients.shape[1], (0, missing)))
        overlap.append(torch.nn.functional.pad(batch.overlap, (0, missing, 0, missing)) if missing else batch.overlap)
        size += batch.size
        atoms += len(batch.coefficients)
    return Batch(
        graph=join([batch.graph for batch in batches]),
        coefficients=torch.cat([batch.coefficients for batch in batches]),
        structure=torch.cat(structure),
        filled=torch.cat(filled),
        overlap=torch.cat(overlap),
    )


def open_data_set(
    reference: Reference, settings: configuration.Network, dtype: torch.dtype, device: torch.device
) -> DataSet:
    """`DataSet(reference, settings, dtype, device)`, or an equal one that this process made before."""
    geometry = (settings.radial_cutoff, settings.harmonics_lmax, settings.radial_functions)
    return _kept(_Request(reference.content_hash, geometry, dtype, device, reference, settings))


@dataclass(frozen=True)
class _Request:
    """What makes two data sets equal, and what they are made from."""

    content_hash: str
    geometry: tuple[float, int, int]
    dtype: torch.dtype
    device: torch.device
    reference: Reference = field(compare=False)
    settings: configuration.Network = field(compare=False)


@lru_cache(maxsize=KEPT)
def _kept(request: _Request) -> DataSet:
    return DataSet(request.reference, request.settings, request.dtype, request.device)


def _moved(batch: Batch, dtype: torch.dtype, device: torch.device) -> Batch:
    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    return Batch(Graph(*map(move, batch.graph)), *map(move, batch[1:]))
