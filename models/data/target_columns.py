"""What a target needs of reference data: which columns, which shells, and whether every structure has them."""

from tesseral.models.data.reference_file import Reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study import configuration
from tesseral.study.configuration.quantities import Quantity, find_quantity
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import MulIrrep


def wanted_columns(quantity: Quantity) -> tuple[str, ...]:
    """Of the reference data, beside geometry and charge."""
    if quantity.pooling == "density":
        return (quantity.column, "overlap")
    return (quantity.column, "energy") if quantity.pooling == "gradient" else (quantity.column,)


def check_values(target: configuration.Target, reference: Reference) -> None:
    """Check that every converged structure of the reference data has what is to be predicted.

    :raises DataError: if one has not, by its name.
    :raises StudyFileError: if the reference data have no such label.
    """
    quantity = find_quantity(target.quantity, reference.labels)
    table = reference.converged.table
    for column in wanted_columns(quantity)[: 2 if quantity.pooling == "density" else 1]:
        if table[column].null_count:
            row = table[column].is_null().to_pylist().index(True)
            raise absent(quantity.name, column, table["id"][row].as_py())


def chosen_basis(reference: Reference, target: configuration.Target) -> AuxiliaryBasis | None:
    """The shells of the density that are predicted; None for another target.

    :raises DataError: if the reference data have no auxiliary basis.
    :raises StudyFileError: if it has no such order.
    """
    if target.quantity != "density":
        return None
    if reference.basis is None:
        raise DataError("target.quantity: expected density coefficients in the reference data, they have none")
    return choose_shells(reference.basis, target.orders)


def choose_shells(basis: AuxiliaryBasis, orders: tuple[int, ...] | None) -> AuxiliaryBasis:
    """The shells of these orders alone, in their order; all of them for None.

    :raises StudyFileError: if the basis has no shell of one of them.
    """
    if orders is None:
        return basis
    known = [term.l for term in basis.layout]
    for order in orders:
        if order not in known:
            valid = ", ".join(map(str, known))
            raise StudyFileError("target.orders", f"expected orders of the auxiliary basis, {valid}, got {order}")
    shells = {number: tuple(one for one in found if one.l in orders) for number, found in basis.shells.items()}
    return AuxiliaryBasis(basis.name, shells)


def target_outputs(reference: Reference, target: configuration.Target) -> tuple[MulIrrep, ...]:
    """What a network gives for each atom to predict a target of the reference data.

    :raises DataError: as `chosen_basis`.
    :raises StudyFileError: if there is no such label, or no such order in the basis.
    """
    basis = chosen_basis(reference, target)
    outputs = find_quantity(target.quantity, reference.labels).outputs
    return basis.layout if basis is not None else outputs or ()


def absent(quantity: str, column: str, structure: str) -> DataError:
    """The error of a structure without a column."""
    return DataError(
        f"target.quantity: expected {column} of every converged structure, for the target {quantity}, "
        f"{structure!r} has none"
    )
