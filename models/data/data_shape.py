"""The shape of a data set: all that a network's size and cost depend on besides its configuration."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import target_outputs
from tesseral.models.networks.sizing.size import Shape
from tesseral.study import configuration
from tesseral.study.errors import DataError
from tesseral.study.parsing.irreps import MulIrrep

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
    table = reference.converged.table.select(["positions"])
    if not len(table):
        raise DataError("expected at least one converged structure in the reference data, got none")
    chosen = table.take(evenly(len(table)))["positions"].to_pylist()
    layout = target_outputs(reference, target or configuration.Target())
    return mean_shape(len(reference.elements), layout, [np.array(positions) for positions in chosen], cutoff)


def count_edges(positions: NDArray[np.float64], cutoff: float) -> int:
    """Number of directed edges of one structure, equal to that of `tesseral.models.networks.graph.build_graph`.

    :param positions: (atoms, 3), Å.
    :param cutoff: Å.
    """
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return int((distances < cutoff).sum()) - len(positions)  # every atom is near itself


def evenly(size: int) -> Sequence[int]:
    """Choose at most `COUNTED` of 0..size−1, evenly spaced.

    :param size: number of structures.
    :returns: indices, ascending.
    """
    return [index * size // min(size, COUNTED) for index in range(min(size, COUNTED))]


def mean_shape(
    elements: int, layout: tuple[MulIrrep, ...], positions: Iterable[NDArray[np.float64]], cutoff: float
) -> Shape:
    """The shape of structures, with their mean numbers of atoms and edges.

    :param elements: length of the one-hot.
    :param layout: irreps of the network's outputs on each atom.
    :param positions: of each structure (atoms, 3), Å.
    :param cutoff: Å.
    """
    counts = [(len(atoms), count_edges(atoms, cutoff)) for atoms in positions]
    atoms, edges = (sum(column) / len(counts) for column in zip(*counts, strict=True))
    return Shape(elements=elements, layout=layout, atoms=atoms, edges=edges)
