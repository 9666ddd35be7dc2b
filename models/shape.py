"""The shape of a data set: all that a network's size and cost depend on besides its configuration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.reference_file import Reference
from tesseral.models.structures import structures
from tesseral.study.errors import DataError
from tesseral.study.irreps import MulIrrep
from tesseral.study.recipe import Recipe

COUNTED = 256
"""Structures whose edges are counted, evenly spaced over the data: more would hardly change the means."""


@dataclass(frozen=True)
class Shape:
    """What a network's size and cost depend on besides its configuration."""

    elements: int
    """Length of the one-hot."""
    layout: tuple[MulIrrep, ...]
    """Outputs for each atom: `AuxiliaryBasis.layout`."""
    atoms: float
    """Mean atoms of a structure."""
    edges: float
    """Mean directed edges of a structure: pairs of atoms nearer than the cutoff, each counted both ways."""


def reference_shape(reference: Reference, cutoff: float) -> Shape:
    """The shape of the converged structures of reference data.

    :param cutoff: Å.
    :raises DataError: if no structure converged.
    """
    table = reference.converged.table.select(["positions"])
    if not len(table):
        raise DataError("expected at least one converged structure in the reference data, got none")
    chosen = table.take(_evenly(len(table)))["positions"].to_pylist()
    return _shape(reference.basis, [np.array(positions) for positions in chosen], cutoff)


def recipe_shape(recipe: Recipe, cutoff: float) -> Shape:
    """The shape of the data that a recipe makes, without any calculation; equal to `reference_shape` of it.

    Provided that every structure converges, as the means are over converged structures.

    :param cutoff: Å.
    :raises StudyFileError: if PySCF does not know the auxiliary basis.
    """
    # Imported here, for a machine that trains need not have PySCF.
    from tesseral.models.density_fit import auxiliary_shells

    wanted = structures(recipe)
    method = recipe.method
    shells = {
        number: auxiliary_shells(number, method.auxiliary_basis, method.decontracted)
        for number in sorted({number for structure in wanted for number in structure.atomic_numbers})
    }
    basis = AuxiliaryBasis(method.auxiliary_basis, shells)
    return _shape(basis, [wanted[index].positions for index in _evenly(len(wanted))], cutoff)


def count_edges(positions: NDArray[np.float64], cutoff: float) -> int:
    """Directed edges of one structure, as `tesseral.models.graph.build_graph` finds them.

    :param positions: (atoms, 3), Å.
    """
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return int((distances < cutoff).sum()) - len(positions)  # every atom is near itself


def _evenly(size: int) -> Sequence[int]:
    """At most `COUNTED` of 0..size−1, evenly spaced."""
    return [index * size // min(size, COUNTED) for index in range(min(size, COUNTED))]


def _shape(basis: AuxiliaryBasis, positions: Iterable[NDArray[np.float64]], cutoff: float) -> Shape:
    counts = [(len(atoms), count_edges(atoms, cutoff)) for atoms in positions]
    atoms, edges = (sum(column) / len(counts) for column in zip(*counts, strict=True))
    return Shape(elements=len(basis.shells), layout=basis.layout, atoms=atoms, edges=edges)
