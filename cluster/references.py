"""Reference data on the storage: where it lies, reading it once a process, making it and importing it."""

import io
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tesseral.models.reference_file import Reference, encode_reference, read_reference
from tesseral.study.errors import DataError
from tesseral.study.recipe import Recipe, ReferenceName
from tesseral.study.records import REFERENCE, to_table
from tesseral.study.segments import decode, encode
from tesseral.study.store import Store
from tesseral.study.trial import digest
from tesseral.study.validation import validate

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[tuple[Any, Any]]]
"""Applies a function to items and gives (item, result) as they come: `inline`, or Ray's `as_completed`."""


@lru_cache(maxsize=4)
def open_reference(storage: str, reference: str) -> Reference:
    """Read reference data, once in a process.

    :raises DataError: if it is missing, torn, or no reference data.
    """
    location = Store(storage).location(reference)
    if "://" not in location:
        return read_reference(location)
    folder, _, name = location.rpartition("/")
    data = Store(folder).read(name)
    if data is None:
        raise DataError(f"expected reference data at {location}, found nothing there")
    return read_reference(io.BytesIO(data), location)


def inline(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    """One item after another, in this process."""
    return ((item, function(item)) for item in items)


def make_reference(
    recipe: Recipe, storage: str, spread: Spread, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[str, bool]:
    """Compute what a recipe asks for, and return where it lies and whether there was anything to do.

    Each finished structure is sealed at once in `reference/.parts/`, so a killed run loses only what it was
    at; the parts become one file at the end.

    :raises DataError: if a file of that name was made by another recipe.
    """
    # Imported here, for a machine that trains need not have PySCF.
    from tesseral.models.reference import calculate, reference_basis
    from tesseral.models.structures import Structure, structures

    name = recipe.reference.name
    store = Store(storage).child("reference")
    key = digest([repr(recipe.structures), repr(recipe.method)])
    if (found := store.read(f"{name}.parquet")) is not None:
        made_by = (read_reference(io.BytesIO(found), name).table.schema.metadata or {}).get(b"tesseral.recipe", b"")
        if made_by.decode() != key:
            raise DataError(
                f"{store.location(name + '.parquet')} was made by another recipe; give this one another "
                "reference.name, or remove the file"
            )
        return store.location(f"{name}.parquet"), False
    wanted = structures(recipe)
    basis = reference_basis(wanted, recipe.method)  # first, for it finds mistakes in the method
    parts = store.child(f".parts/{name}-{key[:16]}")
    left = [structure for structure in wanted if parts.read(f"{structure.id}.parquet") is None]
    on_progress(len(wanted) - len(left), len(wanted))

    def compute(structure: Structure) -> dict[str, Any]:
        return calculate(structure, recipe.method)

    for index, (structure, row) in enumerate(spread(compute, left), start=1):
        parts.create(f"{structure.id}.parquet", encode(to_table([row], REFERENCE)))
        on_progress(len(wanted) - len(left) + index, len(wanted))
    rows = [row for structure in wanted for row in _part(parts, structure.id)]
    store.create(f"{name}.parquet", encode_reference(rows, basis, name=name, recipe=key))
    parts.delete(parts.paths())
    return store.location(f"{name}.parquet"), True


def _part(parts: Store, structure: str) -> list[dict[str, Any]]:
    data = parts.read(f"{structure}.parquet")
    if data is None:
        raise DataError(f"the part of structure {structure} was removed while the file was made; run the command again")
    return decode(data, REFERENCE).to_pylist()


def import_reference(pickle: Path, isolated: dict[str, Path], name: str, storage: str) -> str:
    """Import the public water trimers, and return where they lie now.

    :raises DataError: if the pickle holds more than plain tensors, or its physics does not come out right.
    """
    from tesseral.models.trimer_pickle import import_trimers

    name = validate(ReferenceName, {"name": name}).name
    rows, basis = import_trimers(pickle, isolated)
    store = Store(storage).child("reference")
    location = store.location(f"{name}.parquet")
    if not store.create(f"{name}.parquet", encode_reference(rows, basis, name=name)):
        raise DataError(f"{location} exists already; give --name another name, or remove the file")
    return location


def describe(location: str) -> str:
    """One line on a file of reference data: structures, method, the fit's own error."""
    data = open_reference("", location)
    table = data.table
    method, basis, auxiliary = (table[key][0].as_py() for key in ("method", "basis", "auxiliary_basis"))
    floor = [value for value in table["fit_error"].to_pylist() if value is not None]
    fit = f", fit ε {sum(floor) / len(floor):.2f} %" if floor else ""
    unconverged = len(table) - len(data.converged)
    lost = f", {unconverged} not converged and never trained on" if unconverged else ""
    return (
        f"{len(table)} structures, {f'{method}/{basis}' if method else 'method not stated'}, fitted in {auxiliary}"
        f"{fit}{lost}: {location}"
    )
