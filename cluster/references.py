"""Reference data on the storage: where it lies, reading it once a process, and making it."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.cluster.parts import Computation, assemble, failure, part
from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.reference_file import Reference, read_reference
from tesseral.reference.structures import content, count_structures, ids, structure_at
from tesseral.study.errors import DataError
from tesseral.study.recipe import Recipe
from tesseral.study.records import REFERENCE
from tesseral.study.store import Store
from tesseral.study.trial import digest

T = TypeVar("T")
R = TypeVar("R")

STALE = 3600.0
"""Seconds after which a file that is half written is a killed writer's, and ours to remove."""

BASIS = "basis.json"
"""Name of the auxiliary basis among the sealed rows."""


class Spread(Protocol):
    """Applies a function to items and gives (item, result) as they come: `inline`, or Ray's `as_completed`."""

    def __call__(
        self, function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int
    ) -> Iterator[tuple[T, R]]:
        """`lost` makes the result of an item whose process was ended; `memory` bytes are set aside for each."""


class IncompleteError(RuntimeError):
    """Some structures could not be computed; the others are sealed, and no file was made."""


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


def inline(
    function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int
) -> Iterator[tuple[T, R]]:
    """One item after another, in this process, which has all the memory that it has."""
    return ((item, function(item)) for item in items)


def make_reference(
    recipe: Recipe,
    storage: str,
    spread: Spread,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_failure: Callable[[str], None] = lambda sentence: None,
) -> tuple[str, bool]:
    """Compute what a recipe asks for, and return where it lies and whether there was anything to do.

    Each finished structure is sealed at once in `reference/.parts/`, so a killed run loses only what it was
    at; the parts become one file at the end.

    :param on_progress: told (structures done, structures in all), at the start and after each.
    :param on_failure: told of each structure whose calculation raised; the others go on.
    :raises DataError: if a structure cannot be computed by its geometry, charge or spin, or a file of that name was
        made by another recipe.
    :raises IncompleteError: if a calculation raised, once the others are done.
    """
    path = f"{recipe.reference.name}.parquet"
    store = Store(storage).child("reference")
    key = digest([content(recipe), _settings(recipe)])
    # Rows of an earlier version, which had other columns, are none of this file's.
    parts = store.child(f".parts/{recipe.reference.name}-{digest([key, REFERENCE.names])[:16]}")
    if (made_by := _made_by(store, path)) is not None:
        if made_by != key:
            raise DataError(
                f"{store.location(path)} was made by another recipe; give this one another reference.name, or remove "
                "the file"
            )
        parts.delete(parts.paths())  # of a run that was killed between making the file and this
        return store.location(path), False
    total, sealed = count_structures(recipe), set(parts.paths())
    left = [index for index, name in enumerate(ids(recipe)) if part(name) not in sealed]
    basis = _basis(recipe, left, parts)
    done, failed = total - len(left), 0
    on_progress(done, total)
    compute = Computation(recipe.method, basis, key, parts.url)
    waiting = (structure_at(recipe, index) for index in left)
    for _, reason in spread(compute, waiting, failure, recipe.method.max_memory * 10**6):
        if reason is None:
            done += 1
            on_progress(done, total)
        else:
            failed += 1
            on_failure(reason)
    if failed:
        raise IncompleteError(
            f"{failed} of {total} structures could not be computed, why in full is in {parts.url}; the other "
            f"{done} are kept, and the same command tries these again"
        )
    assemble(store, path, parts, ids(recipe))
    parts.delete(parts.paths())
    store.delete(store.stale(STALE))
    return store.location(path), True


def _settings(recipe: Recipe) -> dict[str, Any]:
    """The settings of the method that change a number; those that do not are left out of its `repr`, too."""
    return {setting.name: getattr(recipe.method, setting.name) for setting in fields(recipe.method) if setting.repr}


def _made_by(store: Store, path: str) -> str | None:
    """Key of the recipe that made a file; None if there is no file.

    :raises DataError: if it is torn, or no Parquet file.
    """
    location = store.location(path)
    source: Any = location
    if "://" in location:
        data = store.read(path)
        if data is None:
            return None
        source = io.BytesIO(data)
    try:
        metadata = pq.read_schema(source).metadata or {}
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"expected reference data that this recipe made, {location} cannot be read: {reason}; remove it"
        ) from None
    return str(metadata.get(b"tesseral.recipe", b"").decode())


def _basis(recipe: Recipe, left: list[int], parts: Store) -> AuxiliaryBasis:
    """The basis of the file's coefficients, sealed with its isolated atoms when the file is begun.

    This checks the method, and every structure, before any is computed.
    """
    if parts.read(BASIS) is None:
        # Imported here, for a machine that trains need not have PySCF.
        from tesseral.reference.calculation import reference_basis

        basis = reference_basis((structure_at(recipe, index) for index in left), recipe.method)
        parts.create(BASIS, basis.to_json().encode())
    return AuxiliaryBasis.from_json((parts.read(BASIS) or b"").decode())
