"""A test set of its own: other reference data than those trained on, with the same target and elements."""

from collections.abc import Iterable

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import check_values
from tesseral.study import configuration
from tesseral.study.configuration.quantities import find_quantity
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError, StudyFileError


def check_test_set(name: str, tested: Reference, trained: Reference, target: configuration.Target) -> None:
    """Check that a network that is trained on some reference data can be tested on others.

    :param name: of the test set, as in `data.tests`.
    :param tested: its data.
    :param trained: the data that the network is trained on.
    :param target: what is predicted.
    :raises DataError: if no structure converged, or there are elements or charges that the network was not trained on,
        the target is missing or another one, or the auxiliary basis differs.
    """
    if not len(tested.converged):
        raise _refused(name, "expected at least one converged structure, got none")
    held = {number for row in tested.converged.table["atomic_numbers"].to_pylist() for number in row}
    if others := sorted(held - {*trained.elements}):
        raise _refused(
            name,
            f"expected the elements of the data that is trained on, {_symbols(trained.elements)}, got "
            f"{_symbols(others)} too",
        )
    charges, known = ({*each.converged.table["charge"].to_pylist()} for each in (tested, trained))
    if strange := sorted(charges - known):
        raise _refused(
            name,
            f"expected total charges of the data that is trained on, {_numbers(known)}, got {_numbers(strange)} too: a "
            "network has no input for them",
        )
    try:
        theirs, ours = (find_quantity(target.quantity, each.labels) for each in (tested, trained))
        if theirs != ours:
            raise _refused(
                name, f"expected {target.quantity} as in the data that is trained on, with its irreps, unit and owner"
            )
        check_values(target, tested)
    except StudyFileError as error:
        raise _refused(name, error.message) from None
    except DataError as error:
        raise error if str(error).startswith("data.tests") else _refused(name, str(error)) from None
    if ours.in_basis:
        basis, own = tested.basis, trained.basis
        if basis is None or own is None or any(basis.shells[number] != own.shells[number] for number in held):
            raise _refused(name, "expected the auxiliary basis of the data that is trained on, got another one")


def _refused(name: str, message: str) -> DataError:
    return DataError(f"data.tests.{name}: {message}")


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def _symbols(numbers: tuple[int, ...] | list[int]) -> str:
    return ", ".join(SYMBOLS[number - 1] for number in numbers)
