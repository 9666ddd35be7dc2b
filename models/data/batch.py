"""Batches: structures joined into one graph, with the reference values of what is predicted.

`DensityBatch` holds coefficients and the matrices that measure a density, `PropertyBatch` the values of anything else.
Each is made from a row of reference data and joined by its own `collate`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.data.target_columns import absent
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.coulomb import coulomb_matrix
from tesseral.models.density.quadratic_forms import quadratic_forms
from tesseral.models.networks.concatenation import concatenate, first_rows
from tesseral.models.networks.graph import Graph, join_runs
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
    def collate(cls, runs: Sequence[Sequence[Self]]) -> list[Self]:
        """The batches of each run as one batch, in their order.

        :param runs: at least one, each of at least one batch.
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
    order to the other.
    """

    filled: Tensor
    """(functions of all structures,) int64: where in `values`, flattened, the coefficient of each function stands."""
    overlap: tuple[Tensor, ...]
    """Of each structure (functions, functions), S = ∫χ_i χ_j, dimensionless."""
    coulomb: tuple[Tensor, ...] | None
    """Of each structure (functions, functions), J = ∫∫χ_i χ_j / r, bohr²; None unless the loss takes it."""

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
            matrix = torch.from_numpy(coulomb_matrix(basis, numbers, positions))
        return cls(
            graph=graph,
            values=torch.from_numpy(coefficients.reshape(-1, width)),
            filled=torch.from_numpy(filled),
            overlap=(torch.from_numpy(overlap[np.ix_(chosen, chosen)]),),
            coulomb=None if matrix is None else (matrix,),
        )

    def squared_norms(self, coefficients: Tensor, matrices: Sequence[Tensor] | None = None) -> Tensor:
        """cᵀ M c of each structure, (structures,).

        :param coefficients: (atoms, columns).
        :param matrices: M, such as `coulomb`; `overlap` if not given, with which it is ∫ρ², electron² · bohr⁻³.
        """
        return quadratic_forms(
            coefficients.reshape(-1).index_select(0, self.filled), self.overlap if matrices is None else matrices
        )

    def members(self, order: Tensor) -> Tensor:
        """Which functions are of each order l, (functions, orders): 1 where they are, else 0.

        :param order: (columns,) int64, l of each column.
        """
        return torch.nn.functional.one_hot(order).to(self.values.dtype).index_select(0, self.filled % len(order))

    def total_norms(self, coefficients: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Σ∫ρ² over the structures, (), and Σ∫ρ_l² of the part of each order l, (orders,), electron² · bohr⁻³, float64.

        :param coefficients: (atoms, columns).
        :param members: of `members`.
        """
        vectors = coefficients.reshape(-1).index_select(0, self.filled)
        parts = vectors[:, None] * members
        split = parts.split([matrix.shape[0] for matrix in self.overlap])
        products = torch.cat([matrix @ part for matrix, part in zip(self.overlap, split, strict=True)])
        whole = vectors.double().dot(products.sum(dim=1, dtype=torch.float64))
        return whole, (parts * products).sum(dim=0, dtype=torch.float64)

    @classmethod
    def collate(cls, runs: Sequence[Sequence[Self]]) -> list[Self]:
        """As `Batch.collate`: `filled` is shifted by the atoms before."""
        numbers = [first_rows(batch.values.numel() for batch in run) for run in runs]
        filled = concatenate([[batch.filled for batch in run] for run in runs], offsets=numbers)
        graphs, values = _graphs_and_values(runs)
        return [
            cls(
                graph=graph,
                values=value,
                filled=places,
                overlap=tuple(chain.from_iterable(batch.overlap for batch in run)),
                coulomb=_matrices([batch.coulomb for batch in run]),
            )
            for run, graph, value, places in zip(runs, graphs, values, filled, strict=True)
        ]

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """As `Batch.to`: every float is rounded."""
        return type(self)(
            graph=self.graph.to(device, dtype),
            values=self.values.to(device, dtype),
            filled=self.filled.to(device),
            overlap=tuple(matrix.to(device, dtype) for matrix in self.overlap),
            coulomb=None if self.coulomb is None else tuple(matrix.to(device, dtype) for matrix in self.coulomb),
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
    def collate(cls, runs: Sequence[Sequence[Self]]) -> list[Self]:
        """As `Batch.collate`; either all batches have energies or none, and any may have stresses."""
        graphs, values = _graphs_and_values(runs)
        return [
            cls(graph=graph, values=value, energy=_joined([batch.energy for batch in run]), stress=_stresses(run))
            for run, graph, value in zip(runs, graphs, values, strict=True)
        ]

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """As `Batch.to`: the graph is rounded, values keep their digits. An energy of −76 hartree in float32 has lost
        5e-6."""
        return type(self)(
            graph=self.graph.to(device, dtype),
            values=self.values.to(device),
            energy=None if self.energy is None else self.energy.to(device),
            stress=None if self.stress is None else self.stress.to(device),
        )


def _graphs_and_values(runs: Sequence[Sequence[Batch]]) -> tuple[list[Graph], list[Tensor]]:
    graphs = join_runs([[batch.graph for batch in run] for run in runs])
    return graphs, concatenate([[batch.values for batch in run] for run in runs])


def _stresses(run: Sequence[PropertyBatch]) -> Tensor | None:
    """The stresses of a run, NaN for batches without them; None where none has any."""
    if all(batch.stress is None for batch in run):
        return None
    return torch.cat(
        [batch.values.new_full((batch.size, 6), torch.nan) if batch.stress is None else batch.stress for batch in run]
    )


def _matrices(parts: Sequence[tuple[Tensor, ...] | None]) -> tuple[Tensor, ...] | None:
    """The matrices of all parts; None if the first has none."""
    return None if parts[0] is None else tuple(chain.from_iterable(cast(list[tuple[Tensor, ...]], parts)))


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The tensors joined; None if there are none."""
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None
