"""What a target takes from reference data: its columns, the shells of its basis, the outputs that predict it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tesseral.models.data.reference_file import Reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study import configuration
from tesseral.study.configuration.quantities import find_quantity, quantity_of
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import MulIrrep


def check_values(target: configuration.Target, reference: Reference) -> None:
    """Check that every converged structure of the reference data has what is to be predicted.

    :param target: what is predicted.
    :param reference: all rows; the converged ones count.
    :raises DataError: naming the first structure that lacks it.
    :raises StudyFileError: if the reference data have no such label.
    """
    quantity = find_quantity(target.quantity, reference.labels)
    table = reference.converged.table
    for column in quantity.columns:
        if table[column].null_count:
            row = table[column].is_null().to_pylist().index(True)
            raise absent(quantity.name, column, table["id"][row].as_py())


def has_spread(target: configuration.Target, reference: Reference) -> bool:
    """Whether what is to be predicted differs between structures, or between the atoms of one.

    :param target: what is predicted.
    :param reference: all rows; the converged ones count.
    """
    values = reference.converged.table[find_quantity(target.quantity, reference.labels).column].combine_chunks()
    rows = len(values)
    widths = pc.list_value_length(values) if pa.types.is_list(values.type) else None
    if rows < 2 or (widths is not None and pc.count_distinct(widths).as_py() > 1):
        return True
    while pa.types.is_nested(values.type):
        values = values.flatten()
    numbers = np.asarray(values.to_numpy(zero_copy_only=False), dtype=float)
    if not len(numbers) or len(numbers) % rows:
        return True
    return bool(np.ptp(numbers.reshape(rows, -1), axis=0).any())


def chosen_basis(reference: Reference, target: configuration.Target) -> AuxiliaryBasis | None:
    """The shells that are predicted; None for a target that is not expanded in the auxiliary basis.

    :param reference: of which the auxiliary basis counts.
    :param target: what is predicted, and which orders of it.
    :raises DataError: if the reference data have no auxiliary basis.
    :raises StudyFileError: if it has no shell of a chosen order.
    """
    if not quantity_of(target.quantity).in_basis:
        return None
    if reference.basis is None:
        raise DataError("target.quantity: expected density coefficients in the reference data, they have none")
    return choose_shells(reference.basis, target.orders)


def choose_shells(basis: AuxiliaryBasis, orders: tuple[int, ...] | None) -> AuxiliaryBasis:
    """A basis of the shells of these orders alone, in their order; the basis itself for None.

    :param basis: all shells.
    :param orders: the l that are kept; None: all.
    :raises StudyFileError: if the basis has no shell of one of them.
    """
    if orders is None:
        return basis
    known = [term.l for term in basis.layout]
    for order in orders:
        if order not in known:
            valid = ", ".join(map(str, known))
            raise StudyFileError("target.orders", f"expected orders of the auxiliary basis, {valid}, got {order}")
    shells = {number: tuple(shell for shell in own if shell.l in orders) for number, own in basis.shells.items()}
    return AuxiliaryBasis(basis.name, shells)


def target_outputs(reference: Reference, target: configuration.Target) -> tuple[MulIrrep, ...]:
    """Irreps of a network's outputs on each atom, for a target of the reference data.

    :param reference: of which auxiliary basis and labels count.
    :param target: what is predicted, and which orders of it.
    :raises DataError: as `chosen_basis`.
    :raises StudyFileError: if there is no such label, or no such order in the basis.
    """
    quantity = find_quantity(target.quantity, reference.labels)
    basis = chosen_basis(reference, target)
    return basis.layout if basis is not None else quantity.outputs or ()


def absent(quantity: str, column: str, structure: str) -> DataError:
    """The error of a structure that lacks a column.

    :param quantity: name of the target.
    :param column: the column that it needs.
    :param structure: id of the structure.
    """
    return DataError(
        f"target.quantity: expected {column} of every converged structure, for the target {quantity}, "
        f"{structure!r} has none"
    )
