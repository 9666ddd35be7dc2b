"""Running a recipe: every structure is computed once and sealed, and all become one file of reference data."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from tesseral.cluster.data.reference_parts import (
    Computation,
    assemble,
    failure,
    level,
    part,
    recall_vibrations,
    settings,
)
from tesseral.cluster.data.references import open_parquet
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.geometries.recipe_structures import content, structure_at, structures
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError
from tesseral.study.recipe.recipe import Recipe
from tesseral.study.records.store import ABANDONED, Store

T = TypeVar("T")
R = TypeVar("R")

BASIS = "basis"
"""What the name of an auxiliary basis among the sealed rows begins with."""
NAMED = 10
"""Structures up to which those to leave out are named in one sentence."""


class Spread(Protocol):
    """Applies a function to items and gives (item, result) as they come: `inline`, or Ray's `as_completed`."""

    def __call__(
        self, function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int
    ) -> Iterator[tuple[T, R]]:
        """`lost` makes the result of an item whose process was ended; `memory` bytes are set aside for each."""


class IncompleteError(RuntimeError):
    """Some structures could not be computed; the others are sealed, and no file was made."""


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
    at; the parts become one file at the end. A part is found by its structure, method and versions, so that a recipe
    of the same name takes over what it has in common with one that was changed. Of two runs at once, one makes the
    file, and for the other it is made already.

    :param on_progress: told (structures done, structures in all), at the start and after each.
    :param on_failure: told of each structure whose calculation raised; the others go on.
    :raises DataError: if a structure cannot be computed by its geometry, charge or spin, or a file of that name was
        made by another recipe.
    :raises IncompleteError: if a calculation raised, once the others are done.
    """
    path = f"{recipe.reference.name}.parquet"
    store = Store(storage).child("reference")
    key = digest([content(recipe), settings(recipe.method)])
    parts = store.child(f".parts/{recipe.reference.name}")
    if _made(store, path, key):
        parts.delete(parts.paths())  # of a run that was killed between making the file and this
        return store.location(path), False
    rows, left, basis = _prepare(recipe, parts)
    total, done, failed = len(rows), len(rows) - len(left), list[str]()
    on_progress(done, total)
    compute = Computation(recipe.method, basis, level(recipe.method), parts.url)
    waiting = (structure_at(recipe, index) for index in left)
    for structure, reason in spread(compute, waiting, failure, recipe.method.max_memory * 10**6):
        if reason is None:
            done += 1
            on_progress(done, total)
        else:
            failed.append(structure.id)
            on_failure(reason)
    try:
        # Another run of the same recipe may have made the file, and removed the rows, meanwhile.
        if failed and not _made(store, path, key):
            raise IncompleteError(_incomplete(recipe, failed, done, parts.url))
        made = assemble(store, path, parts, rows, auxiliary=basis.to_json(), recipe=key)
    except DataError:
        if not _made(store, path, key):
            raise
        made = False
    if not made:
        _made(store, path, key)  # refuses another recipe's
    parts.delete(parts.paths())
    store.delete(store.stale(ABANDONED))
    return store.location(path), made


def _incomplete(recipe: Recipe, failed: list[str], done: int, url: str) -> str:
    """What is said where some structures could not be computed: how to go on with them, and without."""
    without = [*recipe.reference.without, *failed]
    named = json.dumps(without) if len(without) <= NAMED else "[…], these, too, by the ids that were told"
    return (
        f"{len(failed)} of {len(failed) + done} structures could not be computed, why in full is in {url}; the other "
        f"{done} are kept: the same command tries these again, and goes on without them if the recipe's [reference] "
        f"says without = {named}"
    )


def _made(store: Store, path: str, key: str) -> bool:
    """Whether the file is there already.

    :raises DataError: if another recipe made it, it is torn, or no Parquet file.
    """
    file = open_parquet(store.location(path))
    if file is None:
        return False
    with file:
        metadata = file.schema_arrow.metadata or {}
    if metadata.get(b"tesseral.recipe", b"").decode() != key:
        raise DataError(
            f"{store.location(path)} was made by another recipe; give this one another reference.name, or remove "
            "the file"
        )
    return True


def _prepare(recipe: Recipe, parts: Store) -> tuple[list[tuple[str, str]], list[int], AuxiliaryBasis]:
    """Check every structure and the method before anything is computed.

    :return: (id, name of its part) of each structure; the numbers of those that are not sealed; and the basis of the
        file's coefficients with its isolated atoms, which is sealed beside the rows.
    """
    # Imported here, for a machine that trains need not have PySCF.
    from tesseral.models.reference.calculation.calculation import reference_basis
    from tesseral.models.reference.calculation.mean_field import check

    recall_vibrations(recipe, parts)
    decides, sealed = level(recipe.method), set(parts.paths())
    rows: list[tuple[str, str]] = []
    left: list[int] = []
    examples: dict[frozenset[int], Structure] = {}  # a structure of each set of elements
    for index, structure in enumerate(structures(recipe)):
        check(structure, recipe.method)
        rows.append((structure.id, part(structure, decides)))
        examples.setdefault(frozenset(structure.atomic_numbers), structure)
        if rows[-1][1] not in sealed:
            left.append(index)
    name = f"{BASIS}-{digest([decides, sorted(frozenset().union(*examples))])[:32]}.json"
    data = parts.read(name)
    if data is None:
        data = reference_basis(examples.values(), recipe.method).to_json().encode()
        if not parts.create(name, data):
            data = parts.read(name) or data  # another run was first, and may have ended since
    return rows, left, AuxiliaryBasis.from_json(data.decode())
