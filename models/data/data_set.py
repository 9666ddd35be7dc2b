"""Reference data ready for training: graphs and values of every structure, computed once and kept for later trials.

Small data are in memory. Large data are made once a machine, in files that its processes map (`packed.py`).
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tesseral.models.data.batch import Batch, DensityBatch, PropertyBatch
from tesseral.models.data.packed import LAYOUT, Packed, open_packed
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis
from tesseral.models.networks.graph import EdgeBasis, Graph, molecule_graph
from tesseral.study import configuration
from tesseral.study.configuration.quantities import find_quantity
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError

KEPT = 4
"""Data sets that a process keeps for its later trials: the last used."""
JOINED = 5_000
"""Edges and atoms beyond which no further batch is joined with those before it: half a megabyte, which caches hold."""
LARGE = 2000
"""Structures above which a data set is mapped: as tensors of their own they take some 0.1 MB each."""


class DataSet:
    """The converged structures of reference data, with the edges and harmonics that a network asks for.

    :param reference: all rows; those that did not converge are left out.
    :param settings: the `network` section, of which `EdgeBasis` reads the cutoff, harmonics and radial functions.
    :param dtype: precision of graphs and densities; other properties keep float64.
    :param target: what of the reference data is predicted; the density if not given.
    :param coulomb: whether the Coulomb matrices of a density's basis are computed.
    :param trained: the data whose elements and basis the network knows, if these are a test set of their own.
    :raises DataError: if a structure lacks what is predicted, or two of its atoms lie at one place.
    :raises StudyFileError: if the reference data have no such label, or the basis no such order.
    """

    structures: Sequence[Batch]
    """Each structure as a batch of one, in the order of the rows; all of one type."""

    def __init__(
        self,
        reference: Reference,
        settings: configuration.Network,
        dtype: torch.dtype,
        device: torch.device,
        target: configuration.Target | None = None,
        *,
        coulomb: bool = False,
        trained: Reference | None = None,
    ) -> None:
        target, known = target or configuration.Target(), trained or reference
        self.reference = reference.converged
        self.quantity = find_quantity(target.quantity, known.labels)
        self.basis = chosen_basis(known, target)
        self.settings = settings
        self.elements = known.elements
        if len(self.reference) > LARGE:
            self.structures = self._mapped(reference, known, dtype, device, coulomb=coulomb)
        else:
            self.structures = list(self._made(known, dtype, device, coulomb=coulomb))
            without = {batch.energy is None for batch in self.structures if isinstance(batch, PropertyBatch)}
            if len(without) > 1:
                raise DataError("expected an energy beside the forces of every structure or of none, some have one")

    def _made(self, known: Reference, dtype: torch.dtype, device: torch.device, *, coulomb: bool) -> Iterator[Batch]:
        """Compute each structure."""
        columns = ["id", "atomic_numbers", "positions", "charge", "cell"]
        columns += [*self.quantity.columns, *self.quantity.columns_optional]
        table = self.reference.table.select(columns)
        # Where some structures have a stress, all have one, if only NaN.
        stressed = "stress" in columns and table["stress"].null_count < len(table)
        # A few rows at a time: as Python objects, overlap matrices take many times their size in the table.
        for row in (record for part in table.to_batches(max_chunksize=16) for record in part.to_pylist()):
            if stressed and row["stress"] is None:
                row["stress"] = [nan] * 6
            yield self._structure(row, known, coulomb).to(device, dtype)

    def _mapped(
        self, reference: Reference, known: Reference, dtype: torch.dtype, device: torch.device, *, coulomb: bool
    ) -> Sequence[Batch]:
        """Map the structures, made by this process or another one; compute them into memory where no disk has room."""
        hashes = reference.content_hash, known.content_hash
        asked = self.quantity.name, [term.l for term in self.basis.layout] if self.basis else None, coulomb
        name = digest([LAYOUT, *hashes, EdgeBasis.from_settings(self.settings), asked, str(dtype)])
        try:
            folder = self.reference.folder
            if folder is None:  # removed with this data set
                self._folder = TemporaryDirectory(prefix="tesseral-")
                folder = Path(self._folder.name)
            made = partial(self._made, known, dtype, torch.device("cpu"), coulomb=coulomb)
            return open_packed(folder, name, made, device)
        except OSError as error:
            warnings.warn(f"data that processes could share are kept in the memory of each: {error}", stacklevel=2)
            return list(self._made(known, dtype, device, coulomb=coulomb))

    def _structure(self, row: dict[str, Any], known: Reference, coulomb: bool) -> Batch:
        graph = self._graph(row)
        if self.basis is not None and known.basis is not None:
            return DensityBatch.from_row(row, graph, self.basis, known.basis, coulomb=coulomb)
        return PropertyBatch.from_row(row, graph, self.quantity)

    def _graph(self, row: dict[str, Any]) -> Graph:
        """The graph of a structure in float64, its positions about the centre of nuclear charge."""
        positions = torch.tensor(row["positions"], dtype=torch.float64)
        cell = None if row["cell"] is None else np.array(row["cell"], dtype=float)
        edges = EdgeBasis.from_settings(self.settings)
        numbers, charge = row["atomic_numbers"], row["charge"]
        try:
            return molecule_graph(numbers, positions, self.elements, edges, charge=charge, cell=cell)
        except DataError as error:
            raise DataError(f"structure {row['id']!r}: {error}") from None

    def __len__(self) -> int:
        return len(self.structures)

    def batch(self, indices: Sequence[int]) -> Batch:
        """These structures as one batch.

        :param indices: positions in `structures`; at least one.
        """
        return next(self.batches([indices]))

    def batches(self, runs: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """Each run of structures as one batch; small ones are joined several at a time, in as many operations as one.

        :param runs: positions in `structures`; at least one in each.
        """
        waiting: list[list[Batch]] = []
        size = 0
        for run in runs:
            selected = self.select(run)
            own = sum(part.graph.source.shape[0] + part.graph.species.shape[0] for part in selected)
            if waiting and size + own > JOINED:
                yield from collate(waiting)
                waiting, size = [], 0
            waiting.append(selected)
            size += own
        yield from collate(waiting)

    def select(self, indices: Iterable[int]) -> list[Batch]:
        """These structures one by one.

        :param indices: positions in `structures`.
        """
        return [self.structures[index] for index in indices]

    def without_edges(self, indices: Sequence[int]) -> list[Batch]:
        """These structures for what needs no edges, in as few batches as they lie in.

        :param indices: positions in `structures`; at least one.
        """
        return self.structures.without_edges(indices) if isinstance(self.structures, Packed) else self.select(indices)

    def neighbors(self, indices: Iterable[int]) -> float:
        """Mean number of neighbours of an atom in these structures.

        :param indices: positions in `structures`.
        :raises DataError: if no atom has a neighbour.
        """
        if isinstance(self.structures, Packed):
            chosen = list(indices)
            edges, atoms = (self.structures.rows(f"graph.{name}", chosen) for name in ("source", "species"))
        else:
            graphs = [structure.graph for structure in self.select(indices)]
            edges, atoms = sum(len(graph.source) for graph in graphs), sum(len(graph.species) for graph in graphs)
        if not edges:
            raise DataError(
                "network.radial_cutoff: expected a distance within which atoms of the training split have neighbours, "
                "got one within which none has"
            )
        return edges / atoms


def collate(runs: Sequence[Sequence[Batch]]) -> list[Batch]:
    """The batches of each run as one batch, in their order.

    :param runs: each of at least one batch; all of one type.
    """
    several = [run for run in runs if len(run) > 1]
    joined = iter(several[0][0].collate(several) if several else [])
    return [next(joined) if len(run) > 1 else run[0] for run in runs]


def open_data_set(
    reference: Reference,
    settings: configuration.Configuration,
    dtype: torch.dtype,
    device: torch.device,
    trained: Reference | None = None,
) -> DataSet:
    """The data set that a configuration trains on, or an equal one that this process made before.

    Data sets are equal if content hashes, edge basis, quantity, orders, Coulomb matrices, precision and device are. A
    process keeps the last `KEPT`.

    :param reference: all rows.
    :param settings: a whole configuration; what its `network`, `target` and `loss` ask of the data counts.
    :param dtype: precision of graphs and densities; other properties keep float64.
    :param device: where the tensors lie.
    :param trained: the data that the network is trained on, if these are a test set of their own.
    :raises DataError: if a structure lacks what is predicted, or two of its atoms lie at one place.
    :raises StudyFileError: if the reference data have no such label, or the basis no such order.
    """
    network, target, coulomb = settings.network, settings.target, settings.loss.name == "coulomb"
    asked = (target.quantity, target.orders, coulomb)
    edges = EdgeBasis.from_settings(network)
    hashes = (reference.content_hash, *([trained.content_hash] if trained else []))
    return _kept(_Request(hashes, edges, asked, dtype, device, reference, settings, trained))


@dataclass(frozen=True)
class _Request:
    """What makes two data sets equal, and what they are made from."""

    content_hashes: tuple[str, ...]
    edges: EdgeBasis
    asked: tuple[str, tuple[int, ...] | None, bool]
    """Quantity, orders, and whether there are Coulomb matrices."""
    dtype: torch.dtype
    device: torch.device
    reference: Reference = field(compare=False)
    settings: configuration.Configuration = field(compare=False)
    trained: Reference | None = field(compare=False)


@lru_cache(maxsize=KEPT)
def _kept(request: _Request) -> DataSet:
    settings, (*_, coulomb) = request.settings, request.asked
    return DataSet(
        request.reference,
        settings.network,
        request.dtype,
        request.device,
        settings.target,
        coulomb=coulomb,
        trained=request.trained,
    )
