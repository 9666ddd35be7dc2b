"""Batches: structures joined into one graph, with the reference values of what is predicted.

`DensityBatch` holds coefficients and the matrices that measure a density, `PropertyBatch` the values of anything else.
Each is made from a row of reference data and joined by its own `collate`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from tesseral.models.data.target_columns import absent
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.coulomb import coulomb_matrix
from tesseral.models.networks.graph import Graph, join
from tesseral.study.configuration.quantities import Quantity
from tesseral.study.errors import DataError


@dataclass(frozen=True, eq=False)
class Batch(ABC):
    """One or more structures on one device, their atoms and edges concatenated."""

    graph: Graph
    values: Tensor
    """What is predicted, (structures or atoms, components)."""

    @property
    def size(self) -> int:
        """Structures."""
        return self.graph.size

    @classmethod
    @abstractmethod
    def collate(cls, batches: Sequence[Self]) -> Self:
        """One batch of several, in their order.

        :param batches: at least one.
        """

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """On a device, and in the precision of the training wherever the prediction is.

        :param device: where all tensors go.
        :param dtype: precision of the training.
        """


@dataclass(frozen=True, eq=False)
class DensityBatch(Batch):
    """Structures with their fitted densities, in one precision.

    `values` are coefficients, (atoms, columns of the basis's layout), electron · bohr^(−3/2); zero where an element
    lacks the shell. The matrices stand in the order of the functions that the structure has; `filled` leads from one
    order to the other. Structures with fewer functions than the largest are padded with zeros in the matrices, which
    makes what `filled` points at there of no effect.
    """

    filled: Tensor
    """(structures, functions) int64: where in `values`, flattened, the coefficient of each function stands."""
    overlap: Tensor
    """(structures, functions, functions), S = ∫χ_i χ_j, dimensionless."""
    coulomb: Tensor | None
    """(structures, functions, functions), J = ∫∫χ_i χ_j / r, bohr²; None unless the loss takes it."""

    @classmethod
    def from_row(
        cls, row: dict[str, Any], graph: Graph, basis: AuxiliaryBasis, whole: AuxiliaryBasis, *, coulomb: bool
    ) -> Self:
        """One structure, in float64.

        :param row: a row of schema `REFERENCE`: id, atomic_numbers, positions, coefficients, overlap.
        :param graph: of this structure.
        :param basis: the shells that are predicted, some of those of `whole`.
        :param whole: the shells that the row's coefficients refer to.
        :param coulomb: whether the Coulomb matrix is computed.
        :raises DataError: if the row lacks coefficients or overlap matrix.
        """
        for column in ("coefficients", "overlap"):
            if row[column] is None:
                raise absent("density", column, row["id"])
        width = sum(mul * (2 * order + 1) for mul, order, _ in basis.layout)
        numbers = row["atomic_numbers"]
        orders = {term.l for term in basis.layout}
        # The row has the functions of all orders; `chosen` marks those of the orders that are predicted.
        chosen = np.array(
            [shell.l in orders for number in numbers for shell in whole.shells[number] for _ in range(2 * shell.l + 1)]
        )
        filled = np.concatenate([np.array(basis.columns(n), dtype=int) + i * width for i, n in enumerate(numbers)])
        coefficients = np.zeros(len(numbers) * width)
        coefficients[filled] = np.concatenate(row["coefficients"])[chosen]
        overlap = np.zeros((len(chosen), len(chosen)))
        overlap[np.tril_indices(len(chosen))] = row["overlap"]  # stored as the lower triangle, by rows
        overlap += np.tril(overlap, -1).T
        matrix = None
        if coulomb:
            positions = np.array(row["positions"], dtype=float)
            matrix = torch.from_numpy(coulomb_matrix(basis, numbers, positions))[None]
        return cls(
            graph=graph,
            values=torch.from_numpy(coefficients.reshape(-1, width)),
            filled=torch.from_numpy(filled)[None],
            overlap=torch.from_numpy(overlap[np.ix_(chosen, chosen)])[None],
            coulomb=matrix,
        )

    def squared_norms(self, coefficients: Tensor, matrix: Tensor | None = None) -> Tensor:
        """cᵀ M c of each structure, (structures,).

        :param coefficients: (atoms, columns).
        :param matrix: M, such as `coulomb`; `overlap` if not given, with which it is ∫ρ², electron² · bohr⁻³.
        """
        vectors = coefficients.reshape(-1)[self.filled]
        matrix = self.overlap if matrix is None else matrix
        return (vectors * torch.bmm(matrix, vectors[..., None])[..., 0]).sum(dim=1)

    def squared_norms_by_order(self, coefficients: Tensor, order: Tensor) -> Tensor:
        """∫ρ_l² of the part of each order l of each structure, (structures, orders), electron² · bohr⁻³.

        :param coefficients: (atoms, columns).
        :param order: (columns,) int64, l of each column.
        """
        vectors = coefficients.reshape(-1)[self.filled]
        member = torch.nn.functional.one_hot(order)[self.filled % len(order)]
        parts = vectors[..., None] * member
        return (parts * torch.bmm(self.overlap, parts)).sum(dim=1)

    @classmethod
    def collate(cls, batches: Sequence[Self]) -> Self:
        """As `Batch.collate`: `filled` is shifted by the atoms before, matrices are padded to the largest."""
        if len(batches) == 1:
            return batches[0]
        functions = max(batch.filled.shape[1] for batch in batches)
        filled = []
        atoms = 0
        for batch in batches:
            missing = functions - batch.filled.shape[1]
            filled.append(pad(batch.filled + atoms * batch.values.shape[1], (0, missing)))
            atoms += len(batch.graph.species)
        return cls(
            graph=join([batch.graph for batch in batches]),
            values=torch.cat([batch.values for batch in batches]),
            filled=torch.cat(filled),
            overlap=_padded([batch.overlap for batch in batches]),
            coulomb=_joined([batch.coulomb for batch in batches], _padded),
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """As `Batch.to`: every float is rounded."""
        return type(self)(
            graph=self.graph.to(device, dtype),
            values=self.values.to(device, dtype),
            filled=self.filled.to(device),
            overlap=self.overlap.to(device, dtype),
            coulomb=None if self.coulomb is None else self.coulomb.to(device, dtype),
        )


@dataclass(frozen=True, eq=False)
class PropertyBatch(Batch):
    """Structures with the values of a property, in the quantity's unit and in float64 whatever the network's precision.

    `values` have a row for each structure or each atom, as `Quantity.per` says.
    """

    energy: Tensor | None
    """(structures, 1), hartree: the energies that forces are trained beside; None where the data have none."""
    stress: Tensor | None = None
    """(structures, 6), hartree/bohr³, 0e+2e: the stresses that forces are trained beside, NaN for a structure without
    one; None where no structure has one."""

    @classmethod
    def from_row(cls, row: dict[str, Any], graph: Graph, quantity: Quantity) -> Self:
        """One structure, in float64.

        :param row: a row of schema `REFERENCE`: id, atomic_numbers and the columns of the quantity.
        :param graph: of this structure.
        :param quantity: what is predicted, known in full.
        :raises DataError: if the row lacks values, or has another number of them than atoms and irreps demand.
        """
        if row[quantity.column] is None:
            raise absent(quantity.name, quantity.column, row["id"])
        rows = len(row["atomic_numbers"]) if quantity.per == "atom" else 1
        values: NDArray[np.float64] = np.array(row[quantity.column], dtype=float)
        if quantity.magnitude:
            values = np.sqrt(np.square(values).sum(keepdims=True))
        width = sum(mul * (2 * order + 1) for mul, order, _ in quantity.irreps or ())
        if values.size != rows * width or not np.isfinite(values).all():
            raise DataError(
                f"expected {rows} × {width} finite numbers of {quantity.column}, structure {row['id']!r} has "
                f"{values.size}{'' if np.isfinite(values).all() else ', not all of them finite'}"
            )
        energy, stress = (row[name] if name in quantity.columns_optional else None for name in ("energy", "stress"))
        return cls(
            graph=graph,
            values=torch.from_numpy(values.reshape(rows, width)),
            energy=None if energy is None else torch.tensor([[energy]], dtype=torch.float64),
            stress=None if stress is None else torch.tensor([stress], dtype=torch.float64),
        )

    @classmethod
    def collate(cls, batches: Sequence[Self]) -> Self:
        """As `Batch.collate`; either all batches have energies or none, and any may have stresses."""
        if len(batches) == 1:
            return batches[0]
        stresses = [batch.stress for batch in batches]
        if any(stress is not None for stress in stresses):
            stresses = [
                batch.values.new_full((batch.size, 6), torch.nan) if batch.stress is None else batch.stress
                for batch in batches
            ]
        return cls(
            graph=join([batch.graph for batch in batches]),
            values=torch.cat([batch.values for batch in batches]),
            energy=_joined([batch.energy for batch in batches], torch.cat),
            stress=_joined(stresses, torch.cat),
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """As `Batch.to`: the graph is rounded, values keep their digits. An energy of −76 hartree in float32 has lost
        5e-6."""
        return type(self)(
            graph=self.graph.to(device, dtype),
            values=self.values.to(device),
            energy=None if self.energy is None else self.energy.to(device),
            stress=None if self.stress is None else self.stress.to(device),
        )


def _joined(parts: Iterable[Tensor | None], join_tensors: Any) -> Tensor | None:
    """The tensors joined; None if there are none."""
    tensors = [part for part in parts if part is not None]
    return join_tensors(tensors) if tensors else None


def _padded(matrices: Sequence[Tensor]) -> Tensor:
    """Square matrices, (structures, functions, functions), padded with zeros to the largest and concatenated."""
    functions = max(matrix.shape[1] for matrix in matrices)
    parts = []
    for matrix in matrices:
        missing = functions - matrix.shape[1]
        parts.append(pad(matrix, (0, missing, 0, missing)) if missing else matrix)
    return torch.cat(parts)
