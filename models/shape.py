"""The shape of a data set: all that a network's size and cost depend on besides its configuration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.reference_file import Reference
from tesseral.models.structures import count_structures, elements, structure_at
from tesseral.models.target_columns import choose_shells, target_outputs
from tesseral.study import configuration
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.irreps import MulIrrep
from tesseral.study.quantities import ON_REQUEST, find_quantity
from tesseral.study.recipe import Recipe

COUNTED = 256
"""Structures whose edges are counted, evenly spaced over the data: more would hardly change the means."""


@dataclass(frozen=True)
class Shape:
    """What a network's size and cost depend on besides its configuration."""

    elements: int
    """Length of the one-hot."""
    layout: tuple[MulIrrep, ...]
    """Outputs for each atom: of the density `AuxiliaryBasis.layout`, else `Quantity.outputs`."""
    atoms: float
    """Mean atoms of a structure."""
    edges: float
    """Mean directed edges of a structure: pairs of atoms nearer than the cutoff, each counted both ways."""


def reference_shape(reference: Reference, cutoff: float, target: configuration.Target | None = None) -> Shape:
    """The shape of the converged structures of reference data, for a target; the density if none is given.

    :param cutoff: Å.
    :raises DataError: if no structure converged, or the reference data lack an auxiliary basis that is needed.
    :raises StudyFileError: if the reference data have no such label, or the basis no such order.
    """
    table = reference.converged.table.select(["positions"])
    if not len(table):
        raise DataError("expected at least one converged structure in the reference data, got none")
    chosen = table.take(_evenly(len(table)))["positions"].to_pylist()
    layout = target_outputs(reference, target or configuration.Target())
    return _shape(len(reference.elements), layout, [np.array(positions) for positions in chosen], cutoff)


def recipe_shape(recipe: Recipe, cutoff: float, target: configuration.Target | None = None) -> Shape:
    """The shape of the data that a recipe makes, without any calculation; equal to `reference_shape` of it.

    Provided that every structure converges, as the means are over converged structures.

    :param cutoff: Å.
    :raises StudyFileError: if there is no such auxiliary basis or order in it, or the recipe does not make what is
        predicted; none makes labels.
    """
    target, numbers = target or configuration.Target(), elements(recipe)
    quantity = find_quantity(target.quantity)
    layout = quantity.outputs
    if quantity.column in ON_REQUEST and quantity.column not in recipe.method.quantities:
        asked = ", ".join(recipe.method.quantities) or "none"
        raise StudyFileError(
            "data.recipe",
            f"expected a recipe whose method.quantities hold {quantity.column!r}, for the target {quantity.name}, "
            f"got {asked}",
        )
    if layout is None:
        # Imported here, for a machine that trains need not have PySCF.
        from tesseral.models.auxiliary_shells import method_shells

        shells = {number: method_shells(number, recipe.method) for number in numbers}
        layout = choose_shells(AuxiliaryBasis(recipe.method.auxiliary_basis, shells), target.orders).layout
    counted = (structure_at(recipe, index).positions for index in _evenly(count_structures(recipe)))
    return _shape(len(numbers), layout, counted, cutoff)


def count_edges(positions: NDArray[np.float64], cutoff: float) -> int:
    """Directed edges of one structure, as `tesseral.models.graph.build_graph` finds them.

    :param positions: (atoms, 3), Å.
    """
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return int((distances < cutoff).sum()) - len(positions)  # every atom is near itself


def _evenly(size: int) -> Sequence[int]:
    """At most `COUNTED` of 0..size−1, evenly spaced."""
    return [index * size // min(size, COUNTED) for index in range(min(size, COUNTED))]


def _shape(
    numbers: int, layout: tuple[MulIrrep, ...], positions: Iterable[NDArray[np.float64]], cutoff: float
) -> Shape:
    counts = [(len(atoms), count_edges(atoms, cutoff)) for atoms in positions]
    atoms, edges = (sum(column) / len(counts) for column in zip(*counts, strict=True))
    return Shape(elements=numbers, layout=layout, atoms=atoms, edges=edges)
