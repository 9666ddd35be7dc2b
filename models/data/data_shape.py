"""The shape of a data set: all that a network's size and cost depend on besides its configuration."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import target_outputs
from tesseral.models.networks.neighbors import periodic_neighbors
from tesseral.models.networks.sizing.size import Shape
from tesseral.study import configuration
from tesseral.study.errors import DataError
from tesseral.study.parsing.irreps import MulIrrep

Array = NDArray[np.float64]

COUNTED = 256
"""Structures whose edges are counted, evenly spaced over the data: more would hardly change the means."""


def reference_shape(reference: Reference, cutoff: float, target: configuration.Target | None = None) -> Shape:
    """The shape of the converged structures of reference data.

    :param reference: all rows; the converged ones count.
    :param cutoff: within which atoms are neighbours, Å.
    :param target: what is predicted; the density if not given.
    :raises DataError: if no structure converged, or the reference data lack an auxiliary basis that is needed.
    :raises StudyFileError: if the reference data have no such label, or the basis no such order.
    """
    table = reference.converged.table.select(["positions", "cell"])
    if not len(table):
        raise DataError("expected at least one converged structure in the reference data, got none")
    rows = table.take(evenly(len(table))).to_pylist()
    chosen = [(np.array(row["positions"]), None if row["cell"] is None else np.array(row["cell"])) for row in rows]
    layout = target_outputs(reference, target or configuration.Target())
    return mean_shape(len(reference.elements), layout, chosen, cutoff)


def count_edges(positions: Array, cutoff: float, cell: Array | None = None) -> int:
    """Number of directed edges of one structure, equal to that of `tesseral.models.networks.graph.build_graph`.

    :param positions: (atoms, 3), Å.
    :param cutoff: Å.
    :param cell: (3, 3), Å, lattice vectors as rows; None for a molecule.
    """
    if cell is not None:
        return len(periodic_neighbors(positions, cell, cutoff).source)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return int((distances < cutoff).sum()) - len(positions)  # every atom is near itself


def evenly(size: int) -> Sequence[int]:
    """Choose at most `COUNTED` of 0..size−1, evenly spaced.

    :param size: number of structures.
    :returns: indices, ascending.
    """
    return [index * size // min(size, COUNTED) for index in range(min(size, COUNTED))]


def mean_shape(
    elements: int, layout: tuple[MulIrrep, ...], structures: Iterable[tuple[Array, Array | None]], cutoff: float
) -> Shape:
    """The shape of structures, with their mean numbers of atoms and edges.

    :param elements: length of the one-hot.
    :param layout: irreps of the network's outputs on each atom.
    :param structures: the positions, (atoms, 3), Å, and the cell of each.
    :param cutoff: Å.
    """
    counts = [(len(positions), count_edges(positions, cutoff, cell)) for positions, cell in structures]
    atoms, edges = (sum(column) / len(counts) for column in zip(*counts, strict=True))
    return Shape(elements=elements, layout=layout, atoms=atoms, edges=edges)
